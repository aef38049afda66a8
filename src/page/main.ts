/** The page: reads the place from the address, asks the agent what its view needs, every two seconds, and draws it. */
import type { DiagnoseAnswer, TrafficAnswer } from '#contract'
import { ask, pathAt } from './ask.ts'
import type { Data, Need, View } from './data.ts'
import { morph } from './element.ts'
import { findingKey, newFindings } from './findings.ts'
import { clockText } from './format.ts'
import { type Place, placeOf } from './place.ts'
import { themeSwitch } from './theme.ts'
import { TrafficWindow } from './traffic-window.ts'
import { openView, viewLinks } from './views.ts'

const EVERY_MS = 2_000
/** On every view: what is wrong is told wherever one looks. */
const ALWAYS: readonly Need[] = ['status', 'diagnose']

const main = byId('main')
let place: Place = placeOf(location.hash)
let view: View | undefined
let traffic = new TrafficWindow()
let data: Data = { nowMs: Date.now(), refusals: new Map() }
let seenFindings: ReadonlySet<string> | undefined
let answeredAtMs = 0
let isAsking = false
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
    data = { nowMs: Date.now(), refusals: new Map() }
    seenFindings = undefined
  }
  place = next
  view?.close?.()
  view = openView(place)
  const links = viewLinks(place)
  const nav = byId('views')
  if (nav.firstElementChild === null) nav.append(links)
  else morph(nav.firstElementChild, links)
  const title = document.createElement('h1')
  title.textContent = view.title
  title.tabIndex = -1
  main.replaceChildren(title, view.element)
  document.title = `${view.title} · Weir`
  view.update?.(data)
  void look()
}

/** One round of questions; a slow agent is not asked again before it has answered. */
async function look(): Promise<void> {
  if (isAsking) return
  isAsking = true
  clearTimeout(timer)
  const { node } = place
  const asked = view
  const needs = new Set<Need>([...ALWAYS, ...(view?.needs ?? [])])
  const answers = await Promise.all(
    [...needs].map(async (need) => [need, await ask(pathAt(node, `/${need}`))] as const),
  )
  isAsking = false
  timer = setTimeout(() => void look(), document.hidden ? EVERY_MS * 5 : EVERY_MS)
  if (node !== place.node || asked !== view) {
    void look()
    return
  }
  const refusals = new Map<Need, string>()
  let next: Data = { ...data, nowMs: Date.now(), refusals }
  for (const [need, answer] of answers) {
    if (answer.kind === 'refused') refusals.set(need, answer.says)
    if (answer.kind !== 'answer') continue
    const value = need === 'traffic' ? traffic.add(answer.value as TrafficAnswer) : answer.value
    if (value !== undefined) next = { ...next, [need]: value }
  }
  data = next
  tellGone(answers.every(([, { kind }]) => kind === 'gone'))
  announce(data.diagnose)
  view?.update?.(data)
}

function tellGone(isGone: boolean): void {
  if (!isGone) answeredAtMs = Date.now()
  const since = answeredAtMs === 0 ? '' : ` What you see is from ${clockText(answeredAtMs)}.`
  const text = isGone ? `The agent at ${location.host} does not answer; trying again.${since}` : ''
  const gone = byId('gone')
  if (gone.textContent !== text) gone.textContent = text
  document.body.classList.toggle('stale', isGone)
}

/** For those who do not see the list change. */
function announce(diagnose: DiagnoseAnswer | undefined): void {
  if (diagnose === undefined) return
  const fresh = seenFindings === undefined ? '' : newFindings(seenFindings, diagnose.findings)
  seenFindings = new Set(diagnose.findings.map(findingKey))
  if (fresh !== '') byId('announcement').textContent = `New: ${fresh}`
}

byId('tools').append(themeSwitch())
document.querySelector('.skip')?.addEventListener('click', (event) => {
  event.preventDefault()
  main.focus()
})
addEventListener('hashchange', show)
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) void look()
})
show()
