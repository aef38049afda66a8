/** `weir logs`: what pods of this node write, with the mesh's own requests between the lines if asked for. */
import { textValue } from './arguments.ts'
import { EXIT_USAGE } from './exit-code.ts'
import { renderLogRecord } from './log-text.ts'
import { resultOfStream } from './stream-end.ts'
import type { Verb, VerbCall, VerbResult } from './verb.ts'

const TEXT_FLAGS = ['selector', 'namespace', 'container', 'since', 'grep', 'trace', 'tail'] as const
const SWITCHES = ['all', 'follow', 'requests'] as const

export const logsVerb: Verb = {
  name: 'logs',
  summary: 'what pods of this node write, those that are gone a short while ago too',
  usage: '[POD | NAMESPACE/POD | -l SELECTOR | --all | --trace ID] [-f]',
  maxWords: 1,
  options: {
    selector: { type: 'string', short: 'l' },
    all: { type: 'boolean' },
    follow: { type: 'boolean', short: 'f' },
    since: { type: 'string' },
    grep: { type: 'string' },
    trace: { type: 'string' },
    requests: { type: 'boolean' },
    container: { type: 'string', short: 'c' },
    namespace: { type: 'string', short: 'n' },
    tail: { type: 'string' },
  },
  optionHelp: [
    '-l, --selector LABELS  pods with these labels, as app=web,tier!=db',
    '--all                  all pods',
    '-f, --follow           go on with what comes',
    '--since TIME           from a time on: 10m, 2h, 2026-11-21T10:00:00Z',
    '--grep EXPRESSION      lines that hold a match (RE2)',
    '--trace ID             lines that name a trace or request',
    "--requests             with the mesh's own lines: requests and connections from and to the pods",
    '-c, --container NAME   one container of each pod',
    '-n, --namespace NAME   pods of one namespace',
    '--tail N               the last N lines of all that match, or all; 100 without --since, --grep or --trace',
  ],
  examples: [
    'logs shop/web-1 -f',
    'logs -l app=web --since 10m --grep "error|timeout"',
    'logs --trace 4bf92f3577b34da6a3ce929d0e0e4736 --requests',
  ],
  exitHelp: '0 all well, 1 the agent could not answer',
  async run(call) {
    const path = pathOf(call)
    if (path === undefined) {
      return {
        exitCode: EXIT_USAGE,
        output: '',
        error: 'weir logs needs a pod, -l SELECTOR, --all or --trace ID (see weir logs --help)',
      }
    }
    return show(call, path)
  },
}

function pathOf({ values, words }: VerbCall): string | undefined {
  const query = new URLSearchParams()
  const [pod] = words
  if (pod !== undefined) query.set('pod', pod)
  for (const name of TEXT_FLAGS) {
    const value = textValue(values, name)
    if (value !== undefined) query.set(name, value)
  }
  const isNamed = ['pod', 'selector', 'trace'].some((name) => query.has(name)) || values['all'] === true
  for (const name of SWITCHES) if (values[name] === true) query.set(name, 'true')
  return isNamed ? `/logs?${query}` : undefined
}

async function show({ listen, print, json, isTerminal }: VerbCall, path: string): Promise<VerbResult> {
  let problem = ''
  const answer = await listen(path, (message) => {
    const lines = message.split('\n').filter((line) => line !== '')
    const texts = lines.flatMap((line) => {
      const record = JSON.parse(line) as { readonly kind: string; readonly problem?: string }
      if (record.kind === 'problem') problem = record.problem ?? ''
      if (record.kind === 'problem' || record.kind === 'live') return []
      return json ? [`${line}\n`] : [renderLogRecord(record, isTerminal)]
    })
    return texts.length === 0 ? Promise.resolve(true) : print(texts.join(''))
  })
  return resultOfStream('logs', answer, problem)
}
