/** What each proxy takes at most, and how long it waits. */
import { PROXY_LIMITS_DEFAULT, type ProxyLimits } from '#contract'
import { between, type Subject } from './flag.ts'

export interface LimitSettings {
  readonly limits: Partial<ProxyLimits>
}

const LIMITS: Readonly<Record<string, { readonly limit: keyof ProxyLimits; readonly says: string }>> = {
  'max-head-bytes': { limit: 'maxHeadBytes', says: 'largest request or response head, bytes' },
  'max-headers': { limit: 'maxHeaders', says: 'header lines of a head' },
  'head-timeout-ms': { limit: 'headTimeoutMs', says: 'from the first byte of a head to its last' },
  'body-idle-timeout-ms': { limit: 'bodyIdleTimeoutMs', says: 'silence inside a body' },
  'client-idle-timeout-ms': { limit: 'clientIdleTimeoutMs', says: 'client connection without a request' },
  'upstream-idle-timeout-ms': { limit: 'upstreamIdleTimeoutMs', says: 'pooled upstream connection' },
  'connect-timeout-ms': { limit: 'connectTimeoutMs', says: 'connecting upstream' },
  'tcp-idle-timeout-ms': { limit: 'tcpIdleTimeoutMs', says: 'opaque connection without a byte; 0 for never' },
  'max-connections-per-pod': { limit: 'maxConnectionsPerPod', says: 'connections one pod may hold' },
  'max-requests-per-pod': { limit: 'maxRequestsPerPod', says: 'requests in flight of one pod' },
  'shed-lag-ms': { limit: 'shedLagMs', says: 'event loop lag at which new requests get 503; 0 for never' },
  'resume-lag-ms': { limit: 'resumeLagMs', says: 'event loop lag below which they are taken again' },
}
const MAY_BE_ZERO: ReadonlySet<keyof ProxyLimits> = new Set(['tcpIdleTimeoutMs', 'shedLagMs'])

export const PROXY_LIMITS: Subject<LimitSettings> = {
  flags: Object.fromEntries(
    Object.entries(LIMITS).map(([name, { limit, says }]) => {
      const least = MAY_BE_ZERO.has(limit) ? 0 : 1
      return [
        name,
        { value: 'N', says, default: String(PROXY_LIMITS_DEFAULT[limit]), wrong: between(least, 999_999_999) },
      ]
    }),
  ),
  wrong(given) {
    const shedLagMs = given.number('shed-lag-ms')
    return shedLagMs > 0 && given.number('resume-lag-ms') >= shedLagMs
      ? [`--resume-lag-ms: must be below --shed-lag-ms (${shedLagMs}): give both.`]
      : []
  },
  read: (given) => ({
    limits: Object.fromEntries(Object.entries(LIMITS).map(([name, { limit }]) => [limit, given.number(name)])),
  }),
}
