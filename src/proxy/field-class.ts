/**
 * What a field of an HTTP/2 message is to the mesh, by its name: most are nobody's business. Names that spell one of ours
 * with underscores (which CGI and its kin read as dashes) go no further.
 */
import { B3_HEADERS } from '#tracing'
import { isMeshHeader } from './mesh-headers.ts'

export const FIELD_OTHER = 0
/** Only the mesh may say it, or it would be read as something that it is not. */
export const FIELD_DROP = 1
export const FIELD_HOST = 2
export const FIELD_TRACEPARENT = 3
export const FIELD_CONTENT_TYPE = 4
export const FIELD_CONTENT_LENGTH = 5
export const FIELD_GRPC_TIMEOUT = 6
export const FIELD_TE = 7
export const FIELD_COOKIE = 8
export const FIELD_GRPC_STATUS = 9
export const FIELD_B3 = 10
export const FIELD_REQUEST_ID = 11
export const FIELD_TRACESTATE = 12

const CLASSES: ReadonlyMap<string, number> = new Map([
  ['host', FIELD_HOST],
  ['traceparent', FIELD_TRACEPARENT],
  ['content-type', FIELD_CONTENT_TYPE],
  ['content-length', FIELD_CONTENT_LENGTH],
  ['grpc-timeout', FIELD_GRPC_TIMEOUT],
  ['te', FIELD_TE],
  ['cookie', FIELD_COOKIE],
  ['grpc-status', FIELD_GRPC_STATUS],
])
/** Names that are only read: spelled otherwise, they are others. */
const READ: ReadonlyMap<string, number> = new Map([
  ...B3_HEADERS.map((name) => [name, FIELD_B3] as const),
  ['x-request-id', FIELD_REQUEST_ID],
  ['tracestate', FIELD_TRACESTATE],
])
const DASHED = new Set([...CLASSES.keys(), 'transfer-encoding', 'keep-alive', 'proxy-connection', 'http2-settings'])

/** Names seen; few are ever in use. */
const known = new Map<string, number>()
const MAX_KNOWN = 1024

/** @param name in lower case */
export function fieldClass(name: string): number {
  let found = known.get(name)
  if (found === undefined) {
    found = classify(name)
    if (known.size < MAX_KNOWN && name.length <= 64) known.set(name, found)
  }
  return found
}

function classify(name: string): number {
  if (name.includes('_')) {
    const dashed = name.replaceAll('_', '-')
    return isMeshHeader(dashed) || DASHED.has(dashed) ? FIELD_DROP : FIELD_OTHER
  }
  return isMeshHeader(name) ? FIELD_DROP : (CLASSES.get(name) ?? READ.get(name) ?? FIELD_OTHER)
}

/** The fields of [name, value, …] that are called so, joined as one line would be; undefined if there is none. */
export function fieldValue(fields: readonly string[], name: string): string | undefined {
  let found: string | undefined
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== name) continue
    const value = fields[i + 1] as string
    // RFC 9113 section 8.2.3: a cookie that came in crumbs.
    found = found === undefined ? value : `${found}${name === 'cookie' ? '; ' : ', '}${value}`
  }
  return found
}
