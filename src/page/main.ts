/** The page: reads the place from the address, asks the agent what its view needs, every two seconds, and draws it. */
import type { DiagnoseAnswer, NodesAnswer, TrafficAnswer } from '#contract'
import { AllNodes, type AskedAll } from './all-nodes.ts'
import { ask, pathAt } from './ask.ts'
import type { Data, Need, View } from './data.ts'
import { h, morph } from './element.ts'
import { countFindings, findingKey, newFindings } from './findings.ts'
import { clockText } from './format.ts'
import { ALL_NODES } from './join-nodes.ts'
import { loginForm, signOut } from './login.ts'
import { nodeChooser } from './node-chooser.ts'
import { hashOf, type Place, placeOf } from './place.ts'
import { themeSwitch } from './theme.ts'
import { TrafficWindow } from './traffic-window.ts'
import { openView, viewLinks } from './views.ts'

const EVERY_MS = 2_000
/** Rates are of two answers: the second is not waited for that long. */
const SECOND_MS = 700
/** On every view: what is wrong is told wherever one looks. */
const ALWAYS: readonly Need[] = ['status', 'diagnose']

/** How often the list of nodes is asked for. */
const NODES_EVERY_MS = 60_000

const main = byId('main')
let place: Place = placeOf(location.hash)
let view: View | undefined
let traffic = new TrafficWindow()
let allNodes = new AllNodes()
let nodes: NodesAnswer['nodes'] = []
let data: Data = { nowMs: Date.now(), refusals: new Map() }
let seenFindings: ReadonlySet<string> | undefined
let answeredAtMs = 0
let isAsking = false
let isLoggingIn = false
let nodesAtMs = Number.NEGATIVE_INFINITY
let timer = 0

function byId(id: string): HTMLElement {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`The page has no element ${id}`)
  return element
}

function show(): void {
  const next = placeOf(location.hash)
  if (next.node !== place.node) {
    traffic = new TrafficWindow()
    allNodes = new AllNodes()
    data = { nowMs: Date.now(), refusals: new Map() }
    seenFindings = undefined
  }
  place = next
  isLoggingIn = false
  view?.close?.()
  view = openView(place)
  const links = viewLinks(place)
  const nav = byId('views')
  if (nav.firstElementChild === null) nav.append(links)
  else morph(nav.firstElementChild, links)
  main.replaceChildren(heading(view.title), view.element)
  document.title = `${view.title} · Weir`
  view.update?.(data)
  void look()
}

function pathOf(need: Need): string {
  return need === 'pod' ? (view?.podPath ?? '/pods') : `/${need}`
}

function askNode(node: string, need: Need): Promise<AskedAll> {
  if (node !== ALL_NODES) return ask(pathAt(node, pathOf(need)))
  return allNodes.ask(
    need,
    nodes.map(({ name, own }) => ({ name, node: own ? '' : name })),
  )
}

/** One round of questions; a slow agent is not asked again before it has answered. */
async function look(): Promise<void> {
  if (isAsking || isLoggingIn) return
  isAsking = true
  clearTimeout(timer)
  const { node } = place
  const asked = view
  const needs = new Set<Need>([...ALWAYS, ...(view?.needs ?? [])])
  await lookForNodes()
  const answers = await Promise.all([...needs].map(async (need) => [need, await askNode(node, need)] as const))
  isAsking = false
  const waitsForRates = needs.has('traffic') && data.traffic === undefined
  timer = setTimeout(() => void look(), document.hidden ? EVERY_MS * 5 : waitsForRates ? SECOND_MS : EVERY_MS)
  if (node !== place.node || asked !== view) {
    void look()
    return
  }
  if (answers.some(([, answer]) => answer.kind === 'refused' && answer.status === 401)) {
    logIn()
    return
  }
  const refusals = new Map<Need, string>()
  let next: Data = { ...data, nowMs: Date.now(), refusals }
  for (const [need, answer] of answers) {
    if (answer.kind === 'refused') refusals.set(need, answer.says)
    if (answer.kind !== 'answer') continue
    if ('missing' in answer && answer.missing !== undefined && answer.missing !== '') refusals.set(need, answer.missing)
    const value = need === 'traffic' ? traffic.add(answer.value as TrafficAnswer) : answer.value
    if (value !== undefined) next = { ...next, [need]: value }
  }
  data = next
  tellGone(answers.every(([, { kind }]) => kind === 'gone'))
  announce(data.diagnose)
  tellCount(data.diagnose)
  view?.update?.(data)
}

/** Until somebody has shown the token nothing is asked. */
function logIn(): void {
  isLoggingIn = true
  clearTimeout(timer)
  view?.close?.()
  const form = loginForm(() => {
    nodesAtMs = Number.NEGATIVE_INFINITY
    show()
  })
  main.replaceChildren(heading('Sign in'), form)
  form.querySelector('input')?.focus()
}

async function lookForNodes(): Promise<void> {
  if (performance.now() - nodesAtMs < NODES_EVERY_MS) return
  const answer = await ask<NodesAnswer>('/nodes')
  if (answer.kind !== 'answer') return
  nodesAtMs = performance.now()
  nodes = answer.value.nodes
  const chooser = nodeChooser(answer.value, place.node, (node) => {
    const { words, parameters } = place
    location.hash = hashOf(words[0] === 'pod' ? ['pods'] : words, node, Object.fromEntries(parameters))
  })
  byId('nodes').replaceChildren(...chooser)
  const leave = byId('leave')
  leave.hidden = !answer.value.asksToken
}

function heading(text: string): HTMLElement {
  const title = document.createElement('h1')
  title.textContent = text
  title.tabIndex = -1
  return title
}

function tellGone(isGone: boolean): void {
  if (!isGone) answeredAtMs = Date.now()
  const since = answeredAtMs === 0 ? '' : ` What you see is from ${clockText(answeredAtMs)}.`
  const text = isGone ? `The agent at ${location.host} does not answer; trying again.${since}` : ''
  const gone = byId('gone')
  if (gone.textContent !== text) gone.textContent = text
  document.body.classList.toggle('stale', isGone)
}

/** On every view, where it can be seen that something is wrong, and led to. */
function tellCount(diagnose: DiagnoseAnswer | undefined): void {
  const count = diagnose === undefined ? '' : countFindings(diagnose.findings)
  const isCritical = diagnose?.findings.some(({ severity }) => severity === 'critical') === true
  const link = h('a', { href: hashOf(['now'], place.node), class: isCritical ? 'is-critical' : undefined }, count)
  morph(byId('wrong-count'), h('span', { id: 'wrong-count' }, ...(count === '' ? [] : [link])))
}

/** For those who do not see the list change. */
function announce(diagnose: DiagnoseAnswer | undefined): void {
  if (diagnose === undefined) return
  const fresh = seenFindings === undefined ? '' : newFindings(seenFindings, diagnose.findings)
  seenFindings = new Set(diagnose.findings.map(findingKey))
  if (fresh !== '') byId('announcement').textContent = `New: ${fresh}`
}

byId('theme-switch').append(themeSwitch())
byId('leave').addEventListener('click', () => void signOut().then(logIn))
document.querySelector('.skip')?.addEventListener('click', (event) => {
  event.preventDefault()
  main.focus()
})
addEventListener('hashchange', show)
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void look()
})
show()
