/**
 * Requests that fail, told where it begins: a caller whose own calls fail likewise is the consequence of those. Compared is
 * the last minute with the five before, so far as they are known.
 */
import type { Detected } from '../detected.ts'
import { keyOf, type LookHistory, secondsOf } from '../look-history.ts'
import type { NodeLook } from '../node-look.ts'
import { beginning, MIN_REQUESTS, type PairSum, type Pairs, sumPairs } from '../recent-traffic.ts'
import {
  byCount,
  durationWords,
  explainCommand,
  isApplications,
  logsCommand,
  percent,
  placeWords,
  reasonWords,
  tapCommand,
} from '../words.ts'

/** One in twenty is what a user notices, whatever it was before. */
export const FAILED_SHARE = 0.05
/** Once told, it goes on being told down to this: a rate dances. */
export const STILL_FAILED_SHARE = 0.02
/** Less counts when it was far less before: so many times, of so many requests, and not by one or two failures. */
const JUMP_FACTOR = 5
const JUMP_SHARE = 0.01
const JUMP_FAILURES = 5
const JUMP_BASE_REQUESTS = 100
/** One in five fails: nobody can work with that. */
const CRITICAL_SHARE = 0.2
/** What a caller's own calls must fail by, of its own failures, to be their cause. */
const LIKEWISE_SHARE = 0.3
const MAX_LINES = 3

export function detectErrorRates(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  const now = sumPairs(history.recent)
  const before = sumPairs(history.base)
  return [...now].flatMap(([name, pair]) => {
    return isFailing(history, name, pair, before.get(name)) ? [finding(history, last, name, now, before)] : []
  })
}

function isFailing(history: LookHistory, name: string, pair: PairSum, before: PairSum | undefined): boolean {
  const { requests, failed } = pair
  if (requests < MIN_REQUESTS || failed === 0) return false
  const share = failed / requests
  const told = history.told('error-rate', name)
  // What only follows shall not be told for longer than what it follows from: its last failures are counted a little later.
  const isToldItself = told !== undefined && (told.follows ?? []).length === 0
  if (share >= (isToldItself ? STILL_FAILED_SHARE : FAILED_SHARE)) return true
  if (before === undefined || before.requests < JUMP_BASE_REQUESTS || failed < JUMP_FAILURES) return false
  return share >= JUMP_SHARE && share >= JUMP_FACTOR * (before.failed / before.requests)
}

function finding(history: LookHistory, last: NodeLook, name: string, now: Pairs, before: Pairs): Detected {
  const pair = now.get(name)
  if (pair === undefined) throw new Error(`${name} is not among what went on`)
  const { source, target, requests, failed } = pair
  const old = before.get(name)
  const [[reason] = ['- 0']] = byCount(pair.reasons)
  const window = durationWords(secondsOf(history.recent) * 1000)
  const first = beginning(history.looks, name, (sum) => sum.failed >= sum.requests * STILL_FAILED_SHARE)
  const was = old === undefined || old.requests < MIN_REQUESTS ? '' : ` (${percent(old.failed, old.requests)} before)`
  return {
    kind: 'error-rate',
    severity: failed / requests >= CRITICAL_SHARE ? 'critical' : 'warning',
    subject: name,
    says: `${percent(failed, requests)} of the requests from ${placeWords(source)} to ${placeWords(target)} fail${was}, because ${reasonWords(reason)}`,
    evidence: [
      `${failed} of ${requests} requests in the last ${window} failed: ${reasonsText(pair)}`,
      ...destinationLines(pair),
      ...ownCallsLines(pair, now, last),
    ],
    next: nextCommand(last, pair, reason),
    sinceMs: history.told('error-rate', name)?.sinceMs ?? history.looks[first]?.atMs ?? last.atMs,
    hurt: failed,
    follows: causes(last, pair, now),
  }
}

function reasonsText({ reasons }: PairSum): string {
  return byCount(reasons)
    .slice(0, MAX_LINES)
    .map(([reason, count]) => `${count} ${count === 1 ? 'time' : 'times'} ${reasonWords(reason)} (${reason})`)
    .join(', ')
}

/** Where several workloads stand behind a Service: which of them fails. */
function destinationLines({ destinations }: PairSum): readonly string[] {
  if (destinations.size < 2) return []
  return [...destinations]
    .sort((a, b) => b[1].failed - a[1].failed)
    .slice(0, MAX_LINES)
    .map(([name, { requests, failed }]) => `Of ${requests} that went to ${name}, ${failed} failed`)
}

/** That it is nobody's further down is worth a line, too. */
function ownCallsLines(pair: PairSum, now: Pairs, last: NodeLook): readonly string[] {
  const own = [...now.values()].filter(({ source }) => pair.destinations.has(source))
  if (own.length === 0 || ofMesh(last, pair).length > 0 || ofOwnCalls(pair, now).length > 0) return []
  const named = own.slice(0, MAX_LINES).map(({ target }) => target)
  const more = own.length > named.length ? ' and others' : ''
  return [
    `${[...pair.destinations.keys()].join(', ')} calls ${named.join(', ')}${more}, and that does not fail likewise`,
  ]
}

/** What this may follow from, the likeliest first. */
function causes(last: NodeLook, pair: PairSum, now: Pairs): readonly string[] {
  const further = [...ofMesh(last, pair), ...ofOwnCalls(pair, now)]
  return further.length > 0 ? further : ofOthers(pair, now)
}

/** What fails several callers alike is told once, of the one that it hurts most. */
function ofOthers(pair: PairSum, now: Pairs): readonly string[] {
  const [[reason] = ['']] = byCount(pair.reasons)
  const alike = [...now].filter(([, one]) => {
    return one.target === pair.target && one.target !== 'unknown' && byCount(one.reasons)[0]?.[0] === reason
  })
  const worst = alike.reduce((most, one) => (one[1].failed > most[1].failed ? one : most), alike[0] ?? ['', pair])
  return worst[1] === pair ? [] : [keyOf('error-rate', worst[0])]
}

/** The application fails as often as what it asks fails it, or refuses it. */
function ofOwnCalls(pair: PairSum, now: Pairs): readonly string[] {
  const failed = byCount(pair.reasons).reduce((sum, [reason, count]) => sum + (isApplications(reason) ? count : 0), 0)
  if (failed === 0) return []
  return [...now]
    .filter(([, own]) => pair.destinations.has(own.source))
    .filter(([, own]) => own.failed + own.denied >= failed * LIKEWISE_SHARE)
    .sort(([, a], [, b]) => b.failed + b.denied - (a.failed + a.denied))
    .flatMap(([name, { failed: ownFailed, denied }]) => {
      const keys = [keyOf('error-rate', name), keyOf('policy-denies', name)]
      return ownFailed >= denied ? keys : keys.reverse()
    })
}

/** What the mesh says in its own name has a cause of its own in the objects, the endpoints or the proxies. */
function ofMesh(last: NodeLook, { reasons, service }: PairSum): readonly string[] {
  const [[reason] = ['']] = byCount(reasons)
  const flag = reason.split(' ')[0] ?? ''
  const unhealthy = last.unhealthy
    .filter((one) => one.service.startsWith(`${service}:`))
    .map((one) => keyOf('endpoint-unhealthy', `${one.service} ${one.endpoint}`))
  if (flag === 'UH') return [keyOf('no-endpoints', service), ...unhealthy]
  if (flag === 'UF') return unhealthy
  if (flag === 'OM') return last.proxies.map(({ id }) => keyOf('proxy-saturated', `proxy ${id}`))
  if (flag !== 'NR') return []
  return last.problems
    .filter(({ object }) => /Route /.test(object) && last.world.servicesOf(object).includes(service))
    .map(({ object }) => keyOf('invalid-route', object))
}

function nextCommand(last: NodeLook, pair: PairSum, reason: string): string {
  const explain = explainCommand(last, pair.source, pair.service)
  const tap = tapOf(pair, reason)
  const failing = [...pair.destinations].sort((a, b) => b[1].failed - a[1].failed).map(([name]) => name)
  const logs = failing.map((name) => logsCommand(last, name)).find((command) => command !== undefined)
  return (
    (isApplications(reason) ? (logs ?? tap ?? explain) : (tap ?? explain ?? logs)) ??
    (pair.target === 'unknown' ? 'weir edges' : `weir stat ${pair.target}`)
  )
}

/** Of what happened after the decision how to route it, which `weir explain` cannot tell. */
function tapOf({ source, target }: PairSum, reason: string): string | undefined {
  const [flag = '', status = ''] = reason.split(' ')
  if (target === 'unknown') return undefined
  if (['UF', 'UC', 'UPE'].includes(flag)) return tapCommand(source, target, `--flags ${flag}`)
  return flag === '-' && status.startsWith('5') ? tapCommand(source, target, '--status 5xx') : undefined
}
