/** What a reader asks for, read from the query of /logs; every mistake is told by the name of its parameter. */
import type { LogPod } from './log-line.ts'

export interface LogQuery {
  /** Of a pod: its name, in `namespace` if that is given. Empty: any. */
  readonly pod: string
  readonly namespace: string
  readonly container: string
  readonly selector: readonly LabelTest[]
  readonly follow: boolean
  /** Microseconds since the epoch; 0: from the beginning. */
  readonly sinceMicros: number
  /** An expression that is searched for; empty: none. */
  readonly grep: string
  /** A trace or request id; empty: any. */
  readonly trace: string
  readonly requests: boolean
  /** The last lines of all that match, before what is followed; undefined: all. */
  readonly tail: number | undefined
}

export interface LabelTest {
  readonly label: string
  /** Undefined: whether it is there. */
  readonly value: string | undefined
  readonly negated: boolean
}

export const MAX_TAIL = 10_000
/** Where nothing else bounds the answer. */
const TAIL_DEFAULT = 100
const PARAMETERS: ReadonlySet<string> = new Set([
  'pod',
  'namespace',
  'container',
  'selector',
  'all',
  'follow',
  'since',
  'grep',
  'trace',
  'requests',
  'tail',
])

/** A text says what is wrong. */
export function parseLogQuery(parameters: URLSearchParams, nowMs: number): LogQuery | string {
  for (const name of parameters.keys()) {
    if (!PARAMETERS.has(name)) return `Parameter ${name}: not known; there are ${[...PARAMETERS].join(', ')}`
    if (parameters.getAll(name).length > 1) return `Parameter ${name}: given twice`
  }
  const value = (name: string) => parameters.get(name) ?? ''
  const flags = { all: false, follow: false, requests: false }
  for (const name of ['all', 'follow', 'requests'] as const) {
    if (!['', 'true', 'false'].includes(value(name))) return `Parameter ${name}: expected true or false`
    flags[name] = value(name) === 'true'
  }
  const [first = '', second] = value('pod').split('/')
  const namespace = second === undefined ? value('namespace') : first
  if (second !== undefined && value('namespace') !== '' && value('namespace') !== first) {
    return `Parameter pod: names namespace ${first}, and parameter namespace ${value('namespace')}; keep one of them`
  }
  const selector = parseSelector(value('selector'))
  if (typeof selector === 'string') return selector
  const since = value('since') === '' ? 0 : parseSince(value('since'), nowMs)
  if (since === undefined) {
    return `Parameter since: expected a duration such as 10m or 2h, or a time such as 2026-11-21T10:00:00Z, got ${JSON.stringify(value('since'))}`
  }
  const trace = value('trace')
  if (trace !== '' && !/^[\w.\-:/=+]{4,128}$/.test(trace))
    return 'Parameter trace: expected a trace or request id of 4 to 128 characters'
  if (value('pod') === '' && value('selector') === '' && !flags.all && trace === '') {
    return 'Which logs: name a pod, a selector, a trace, or all'
  }
  if (flags.all && value('pod') !== '') return 'Parameter all: not together with pod; keep one of them'
  const tail = parseTail(value('tail'), since > 0 || trace !== '' || value('grep') !== '')
  if (typeof tail === 'string') return tail
  return {
    pod: second ?? first,
    namespace,
    container: value('container'),
    selector,
    follow: flags.follow,
    sinceMicros: since,
    grep: value('grep'),
    trace,
    requests: flags.requests,
    tail: tail.lines,
  }
}

/** Do the pod's own facts fit? The container is for the caller to compare. */
export function wantsPod(query: LogQuery, pod: Pick<LogPod, 'namespace' | 'name' | 'labels'>): boolean {
  if (query.pod !== '' && query.pod !== pod.name) return false
  if (query.namespace !== '' && query.namespace !== pod.namespace) return false
  return query.selector.every(({ label, value, negated }) => {
    const own = Object.hasOwn(pod.labels, label) ? pod.labels[label] : undefined
    return (value === undefined ? own !== undefined : own === value) !== negated
  })
}

function parseTail(text: string, isBounded: boolean): { readonly lines: number | undefined } | string {
  if (text === '') return { lines: isBounded ? undefined : TAIL_DEFAULT }
  if (text === 'all') return { lines: undefined }
  const lines = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
  return lines <= MAX_TAIL
    ? { lines }
    : `Parameter tail: expected a number from 0 to ${MAX_TAIL}, or all, got ${JSON.stringify(text)}`
}

const LABEL = /^(!?)([A-Za-z0-9._/-]{1,317})$/
const COMPARED = /^([A-Za-z0-9._/-]{1,317})\s*(==|=|!=)\s*([A-Za-z0-9._-]{0,63})$/

/** `app=web,tier!=db,canary,!old`, as kubectl takes them; set-based ones are refused. */
function parseSelector(text: string): readonly LabelTest[] | string {
  const tests: LabelTest[] = []
  for (const part of text === '' ? [] : text.split(',')) {
    const one = part.trim()
    const [, label = '', operator = '', value = ''] = COMPARED.exec(one) ?? []
    const [, not = '', present = ''] = LABEL.exec(one) ?? []
    if (label !== '') tests.push({ label, value, negated: operator === '!=' })
    else if (present !== '') tests.push({ label: present, value: undefined, negated: not === '!' })
    else
      return `Parameter selector: expected label=value, label!=value, label or !label, separated by commas, got ${JSON.stringify(one)}`
  }
  return tests
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Microseconds since the epoch. */
function parseSince(text: string, nowMs: number): number | undefined {
  const [, count, unit = ''] = /^(\d{1,7})([smhd])$/.exec(text) ?? []
  if (count !== undefined) return Math.max(1, (nowMs - Number(count) * (UNIT_MS[unit] ?? 0)) * 1000)
  const ms = /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(ms) ? undefined : Math.max(1, ms * 1000)
}
