/** `weir tap`: requests and connections of this node as they end. */
import { setTimeout } from 'node:timers/promises'
import { TAP_TEXTS } from '#contract'
import { textValue, textValues } from './arguments.ts'
import type { Listened } from './listen.ts'
import { resultOfStream } from './stream-end.ts'
import { TapText } from './tap-text.ts'
import type { Verb, VerbCall, VerbResult } from './verb.ts'

const TEXT_OPTIONS = Object.fromEntries(TAP_TEXTS.map((name) => [name, { type: 'string' as const }]))

export const tapVerb: Verb = {
  name: 'tap',
  summary: 'requests and connections of this node, live, as they end',
  does: 'Values of authorization, cookies and the like are never shown, query strings only where the agent is told to.',
  usage: '[POD | WORKLOAD | SERVICE | NAMESPACE/NAME] [flags]',
  maxWords: 1,
  options: {
    ...TEXT_OPTIONS,
    namespace: { type: 'string', short: 'n' },
    header: { type: 'string', multiple: true },
    headers: { type: 'boolean' },
    wide: { type: 'boolean', short: 'w' },
  },
  optionHelp: [
    '--from NAME            of one source: a pod or workload, an address, a SPIFFE ID, or unknown',
    '--to NAME              to one destination: the same, or a Service',
    '-n, --namespace NAME   from or to one namespace',
    '--service NAME         what one Service was asked for',
    '--method METHOD,…      GET,POST',
    '--path PREFIX          paths that begin so; without their query',
    '--path-regex EXPR      paths that hold a match (RE2)',
    '--status STATUS,…      404, 5xx, 400-499, 0 for what was not answered',
    '--flags FLAG,…         RBAC (refused by a policy), UF, UH, UT …; none for what went well',
    '--min-duration TIME    what took at least so long: 250ms, 2s',
    '--header NAME=VALUE    requests with this header; may be given several times',
    '--headers              show header fields, of requests and answers',
    '--limit N              end after N',
    '--rate N               show at most N a second of each proxy; 200 without it, at most 1000',
    '-w, --wide             identities, route, upstream and bytes, too',
  ],
  examples: [
    'tap --to shop/reviews --status 5xx',
    'tap frontend --min-duration 500ms',
    'tap --flags RBAC --headers --limit 1',
  ],
  exitHelp: '0 all well, 1 the agent could not answer, or ended',
  run: show,
}

const EVENTS: ReadonlySet<string> = new Set(['request', 'connection', 'opened'])

function pathOf({ values, words }: VerbCall, left: number): string {
  const query = new URLSearchParams()
  const [end] = words
  if (end !== undefined) query.set('end', end)
  for (const name of TAP_TEXTS) {
    const value = textValue(values, name)
    if (value !== undefined) query.set(name, name === 'limit' && Number.isInteger(left) ? String(left) : value)
  }
  for (const value of textValues(values, 'header')) query.append('header', value)
  if (values['headers'] === true) query.set('headers', 'true')
  return `/tap?${query}`
}

/** How long an agent that has ended may take to come back: it is upgraded, or has handed over to another one. */
const COMES_BACK_MS = 30_000
const ASK_AGAIN_MS = 250

async function show(call: VerbCall): Promise<VerbResult> {
  const { listen, print, json, isTerminal, values } = call
  const text = new TapText({ isTerminal, wide: values['wide'] === true })
  const limit = Number(textValue(values, 'limit') ?? Number.POSITIVE_INFINITY)
  let problem = ''
  let shown = 0
  let until = 0
  const tell = (message: string) => {
    const lines = message.split('\n').flatMap((line) => {
      const event = readEvent(line)
      if (event === undefined) return []
      if (event['kind'] === 'problem') problem = String(event['problem'])
      if (event['kind'] === 'live' && until > 0) {
        until = 0
        return json ? ['{"kind":"lost","why":"agent"}\n'] : [text.render({ kind: 'lost', why: 'agent' })]
      }
      if (EVENTS.has(String(event['kind']))) shown++
      return json ? (event['kind'] === 'problem' ? [] : [`${line}\n`]) : [text.render(event)]
    })
    return print(lines.join(''))
  }
  let answer = await listen(pathOf(call, limit), tell)
  // What was looked at and broke off is looked at again.
  while (shown < limit && isAwaited(answer, until)) {
    if (until === 0) until = Date.now() + COMES_BACK_MS
    await setTimeout(ASK_AGAIN_MS)
    answer = await listen(pathOf(call, limit - shown), tell)
  }
  return resultOfStream('tap', answer, problem)
}

/** @param until an agent that was there is waited for; 0: it was there until now */
function isAwaited({ kind }: Listened, until: number): boolean {
  return until === 0 ? kind === 'broken' : (kind === 'broken' || kind === 'unreachable') && Date.now() < until
}

function readEvent(line: string): Readonly<Record<string, unknown>> | undefined {
  if (line === '') return undefined
  try {
    const event: unknown = JSON.parse(line)
    return typeof event === 'object' && event !== null ? (event as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}
