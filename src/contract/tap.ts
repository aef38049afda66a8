/** Taps: what a reader of live requests and connections asks for, as the agent tells it to the proxies. */

/** What is not asked for is empty, or 0, and fits everything. */
export interface TapFilter {
  /** Either end; each end is `NAME` or `NAMESPACE/NAME` of a pod or workload, an IP address, a SPIFFE ID, or `unknown`. */
  readonly end: string
  readonly from: string
  readonly to: string
  /** Of either end. */
  readonly namespace: string
  /** `NAME`, `NAMESPACE/NAME`, or the whole host name. */
  readonly service: string
  /** In upper case. */
  readonly methods: readonly string[]
  /** What the path, without its query, begins with. */
  readonly pathPrefix: string
  /** An expression of `#routing`, searched for in the path without its query. */
  readonly pathRegex: string
  /** Bounds of statuses, both included; 0 is a request that was not answered. */
  readonly statuses: readonly (readonly [least: number, most: number])[]
  readonly flags: readonly string[]
  readonly minDurationMs: number
  /** Fields of the request, names in lower case, and values as they are to be. */
  readonly headers: readonly { readonly name: string; readonly value: string }[]
}

/** What a reader may ask for with one text each: flags of `weir tap`, parameters of /tap. */
export const TAP_TEXTS = [
  'from',
  'to',
  'namespace',
  'service',
  'method',
  'path',
  'path-regex',
  'status',
  'flags',
  'min-duration',
  'limit',
  'rate',
] as const

export interface TapSpec {
  readonly filter: TapFilter
  /** Header fields are told, too. */
  readonly showHeaders: boolean
  /** Query strings are told as they are. */
  readonly showQueries: boolean
  /** Header fields of which no value is told, besides those of which none ever is (`isRedactedField`). */
  readonly redact: readonly string[]
  /** Of one proxy; what is beyond is counted as lost. */
  readonly maxPerSecond: number
}

/** Events that a reader did not get. */
export interface TapLoss {
  /** There were more than `maxPerSecond`, or than a proxy tells at most. */
  readonly rate: number
  /** They were not taken fast enough. */
  readonly slow: number
}

/**
 * Names, in lower case and with dashes, of header fields of which no value is ever told, whoever asks: `authorization`,
 * `proxy-authorization`, `cookie`, `set-cookie`, `x-api-key`, and all that sound like them.
 */
const SECRET_FIELD =
  /auth|cookie|token|secret|pass|pwd|credential|sess|signature|-sig$|bearer|jwt|csrf|xsrf|dpop|saml|assertion|principal|private|cert$|keys?$|key-id$|(?:^|-)(?:otp|pin|sid|sso)(?:$|-)|^sec-websocket-protocol$/

/** Is no value of that field told? `more` in lower case, with dashes; an underscore in `name` counts as a dash. */
export function isRedactedField(name: string, more: readonly string[]): boolean {
  const dashed = name.toLowerCase().replaceAll('_', '-')
  return SECRET_FIELD.test(dashed) || more.includes(dashed)
}

/** Is a parameter of that name likely to hold a secret, as `jsessionid` in a path does? */
export function isSecretParameter(name: string): boolean {
  return SECRET_FIELD.test(name.toLowerCase())
}
