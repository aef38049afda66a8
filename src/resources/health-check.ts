/** Health checks of a TrafficPolicy, strict: what is asked of each endpoint, how often, and what counts as well. */
import {
  durationWithin,
  type Issue,
  integer,
  list,
  type Output,
  object,
  oneOf,
  optional,
  refine,
  string,
  withDefault,
} from '#schema'

/** More often than that, a check would be a load of its own. */
const MIN_INTERVAL_MS = 100
const MAX_INTERVAL_MS = 3_600_000
const MAX_TEXT_BYTES = 1024

const interval = string(durationWithin(MIN_INTERVAL_MS, MAX_INTERVAL_MS, '100ms to 1h'))
const timeout = string(durationWithin(1, 60_000, '1ms to 1m'))

/** Visible ASCII, as it is sent (RFC 9112 section 3.2). */
const checkPath = (text: string): string | undefined =>
  /^\/[\x21-\x22\x24-\x7e]{0,1023}$/.test(text)
    ? undefined
    : `expected a path such as /healthz, percent-encoded, got ${JSON.stringify(text)}`

const checkHost = (text: string): string | undefined =>
  /^[-.\w]{1,253}(:\d{1,5})?$/.test(text) || /^\[[0-9A-Fa-f:.]+\](:\d{1,5})?$/.test(text)
    ? undefined
    : `expected a host such as web.shop or web.shop:8080, got ${JSON.stringify(text)}`

const checkStatuses = (text: string): string | undefined => {
  const { from, to } = parseStatuses(text)
  return from >= 100 && to <= 599 && from <= to
    ? undefined
    : `expected a status such as "204" or a range such as "200-299", got ${JSON.stringify(text)}`
}

/** `200-299`, or one status; NaN where it is neither. */
export function parseStatuses(text: string): { readonly from: number; readonly to: number } {
  const [, from = 'NaN', to = from] = /^(\d{3})(?:-(\d{3}))?$/.exec(text) ?? []
  return { from: Number(from), to: Number(to) }
}

const checkSize = (text: string): string | undefined => {
  const bytes = Buffer.byteLength(text)
  return bytes >= 1 && bytes <= MAX_TEXT_BYTES ? undefined : `expected 1 to ${MAX_TEXT_BYTES} bytes, got ${bytes}`
}

const checkServiceName = (text: string): string | undefined =>
  /^[A-Za-z0-9_./-]{1,253}$/.test(text)
    ? undefined
    : `expected the name of a gRPC service such as shop.Cart, got ${JSON.stringify(text)}`

const http = object('strict', {
  path: withDefault(string(checkPath), '/'),
  host: optional(string(checkHost)),
  statuses: withDefault(list(string(checkStatuses), { min: 1, max: 16 }), ['200-299']),
})

const grpc = object('strict', { service: optional(string(checkServiceName)), host: optional(string(checkHost)) })

const tcp = object('strict', { send: optional(string(checkSize)), expect: optional(string(checkSize)) })

const healthCheck = refine(
  object('strict', {
    type: oneOf('HTTP', 'GRPC', 'TCP'),
    http: optional(http),
    grpc: optional(grpc),
    tcp: optional(tcp),
    interval: withDefault(interval, '10s'),
    jitterPercent: withDefault(integer(0, 100), 10),
    timeout: withDefault(timeout, '2s'),
    unhealthyThreshold: withDefault(integer(1, 100), 3),
    healthyThreshold: withDefault(integer(1, 100), 1),
  }),
  (check, field, issues: Issue[]) => {
    for (const name of ['http', 'grpc', 'tcp'] as const) {
      if (check[name] === undefined || check.type === name.toUpperCase()) continue
      issues.push({
        field: `${field}.${name}`,
        message: `goes with type ${name.toUpperCase()} only, got ${check.type}`,
      })
    }
  },
)

export const healthChecks = list(healthCheck, { min: 1, max: 4 })

export type HealthCheckSpec = Output<typeof healthCheck>
