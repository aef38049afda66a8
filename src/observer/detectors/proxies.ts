/** Proxies that shed load, lag, use up their processor, or end. */
import type { FindingSeverity } from '#contract'
import type { Detected } from '../detected.ts'
import { keyOf, type LookHistory, looksSince } from '../look-history.ts'
import type { NodeLook, ProxySample } from '../node-look.ts'
import { percent } from '../words.ts'

/** Each request waits so long at least, now and then; one garbage collection alone may take half of it. */
export const LAG_MS = 100
export const STILL_LAG_MS = 50
/** Of one processor: a proxy has one thread for all it does. */
export const BUSY_SHARE = 0.9
export const STILL_BUSY_SHARE = 0.8
/** It has not answered for ten seconds; after thirty it is replaced. */
const STUCK_PINGS = 2
/** So many looks together: shorter bursts are what queues are for. */
const LOOKS = 3

export function detectProxies(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  return last.proxies.flatMap((proxy) => [...saturated(history, last, proxy), ...ended(history, last, proxy)])
}

function saturated(history: LookHistory, last: NodeLook, proxy: ProxySample): readonly Detected[] {
  const { id, shedding, lagMs, missedPings, isUp } = proxy
  const isStuck = isUp && missedPings >= STUCK_PINGS
  const subject = `proxy ${id}`
  const told = history.told('proxy-saturated', subject)
  const leastLagMs = told === undefined ? LAG_MS : STILL_LAG_MS
  const of = (look: NodeLook) => look.proxies.find((one) => one.id === id)
  const lags = looksSince(history.looks, (look) => (of(look)?.lagMs ?? 0) >= leastLagMs) >= LOOKS
  const busy = busyShare(history, id)
  const isBusy = busy !== undefined && busy >= (told === undefined ? BUSY_SHARE : STILL_BUSY_SHARE)
  if (!isStuck && !shedding && !lags && !isBusy) return []
  const severity: FindingSeverity = isStuck || shedding ? 'critical' : 'warning'
  const what = isStuck
    ? 'gives no answer: its event loop is stuck, and with it all its connections'
    : shedding
      ? 'refuses new requests (503, flag OM), because its event loop lags'
      : lags
        ? 'is late with everything, because its event loop lags'
        : 'uses up its processor: what comes waits'
  return [
    {
      kind: 'proxy-saturated',
      severity,
      subject,
      says: `Proxy ${id} of this node ${what}`,
      evidence: [
        // What it told last is of before it got stuck.
        isStuck
          ? `It has not answered ${missedPings} times in a row, asked every 5 s; after half a minute it is started again`
          : `Its event loop lagged ${Math.round(lagMs)} ms at most in the last 10 to 20 s`,
        ...(busy === undefined ? [] : [`It used ${percent(busy, 1)} of one processor`]),
        `${last.proxies.length} proxies serve the pods of this node (weir agent --proxies)`,
      ],
      next: 'weir top --sort requests',
      sinceMs: told?.sinceMs ?? last.atMs,
      hurt: 0,
      follows: [keyOf('node-saturated', 'processors')],
    },
  ]
}

/** Of one processor, over the last looks; undefined while they are too few, or it was started again. */
function busyShare({ looks }: LookHistory, id: number): number | undefined {
  const window = looks.slice(-LOOKS - 1)
  if (window.length <= LOOKS) return undefined
  const of = (look: NodeLook | undefined) => look?.proxies.find((one) => one.id === id)
  const [first, last] = [of(window[0]), of(window.at(-1))]
  if (first?.cpuSeconds === undefined || last?.cpuSeconds === undefined) return undefined
  if (first.restarts !== last.restarts) return undefined
  const seconds = window.slice(1).reduce((sum, look) => sum + look.seconds, 0)
  return seconds === 0 ? undefined : (last.cpuSeconds - first.cpuSeconds) / seconds
}

function ended(history: LookHistory, last: NodeLook, { id, isUp, restarts }: ProxySample): readonly Detected[] {
  const of = (look: NodeLook) => look.proxies.find((one) => one.id === id)
  const before = of(history.looks[0] ?? last)?.restarts ?? 0
  const times = restarts - before
  if (times <= 0) return []
  const subject = `proxy ${id}`
  const first = history.looks.find((look) => (of(look)?.restarts ?? 0) > before)
  return [
    {
      kind: 'proxy-restarted',
      severity: isUp ? 'warning' : 'critical',
      subject,
      says: `Proxy ${id} of this node ended ${times === 1 ? 'once' : `${times} times`} and ${isUp ? 'was started again' : 'is not up again yet'}: its connections were cut`,
      evidence: ["Why stands in the agent's log: proxy ended"],
      next: 'weir status',
      sinceMs: history.told('proxy-restarted', subject)?.sinceMs ?? first?.atMs ?? last.atMs,
      hurt: 0,
    },
  ]
}
