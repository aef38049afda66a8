/** `sessionPersistence` of a route rule (GEP-1619, experimental channel of the Gateway API), strict. */
import {
  checkDuration,
  type Output,
  object,
  oneOf,
  optional,
  parseDurationMs,
  refine,
  string,
  withDefault,
} from '#schema'

const checkTimeout = (text: string): string | undefined => {
  const wrong = checkDuration(text)
  if (wrong !== undefined) return wrong
  return (parseDurationMs(text) ?? 0) > 0 ? undefined : `expected a time above 0, got ${text}`
}

/** A cookie's name and a header's: both are tokens (RFC 6265 section 4.1.1, RFC 9110 section 5.6.2). */
const checkName = (text: string): string | undefined =>
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/.test(text)
    ? undefined
    : `expected the name of a cookie or a header, up to 128 characters, got ${JSON.stringify(text)}`

/** Headers that mean something else already. */
const TAKEN = new Set([
  'host',
  'cookie',
  'set-cookie',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'upgrade',
])

export const sessionPersistence = refine(
  object('strict', {
    sessionName: optional(string(checkName)),
    absoluteTimeout: optional(string(checkTimeout)),
    idleTimeout: optional(string(checkTimeout)),
    type: withDefault(oneOf('Cookie', 'Header'), 'Cookie' as const),
    cookieConfig: optional(
      object('strict', { lifetimeType: withDefault(oneOf('Session', 'Permanent'), 'Session' as const) }),
    ),
  }),
  ({ type, sessionName = '', absoluteTimeout, cookieConfig }, field, issues) => {
    if (cookieConfig?.lifetimeType === 'Permanent' && absoluteTimeout === undefined) {
      issues.push({ field: `${field}.absoluteTimeout`, message: 'is missing: a Permanent cookie needs it' })
    }
    if (type !== 'Header') return
    if (cookieConfig !== undefined) {
      issues.push({ field: `${field}.cookieConfig`, message: 'goes with type Cookie only, got Header' })
    }
    const name = sessionName.toLowerCase()
    if (TAKEN.has(name) || name === 'x-forwarded-client-cert' || name.startsWith('x-weir-')) {
      issues.push({
        field: `${field}.sessionName`,
        message: `header ${sessionName} means something else: choose another`,
      })
    }
  },
)

export type SessionPersistenceSpec = Output<typeof sessionPersistence>
