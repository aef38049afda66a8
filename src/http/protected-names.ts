/** Request headers that a client cannot have stripped by listing them in Connection. */
const PROTECTED = new Set([
  'host',
  'authorization',
  'proxy-authorization',
  'cookie',
  'content-length',
  'content-type',
  'transfer-encoding',
  'traceparent',
  'tracestate',
  'b3',
  'baggage',
  'forwarded',
  'x-request-id',
  'origin',
])

/** Credentials, host, framing, tracing and what the mesh says: those who come after rely on them. */
export function isProtected(lowerCaseName: string): boolean {
  return PROTECTED.has(lowerCaseName) || /^x-(?:weir|b3|forwarded)-/.test(lowerCaseName)
}
