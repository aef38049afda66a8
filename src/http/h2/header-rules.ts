/**
 * What makes a message malformed (RFC 9113 section 8, RFC 8441). Strict, as the HTTP/1.1 parser is: what
 * could read differently once it is written as HTTP/1.1 is refused here. Every check answers with the
 * problem, or an empty string.
 */
import { isTokenByte } from '../head.ts'

/** What the headers of a message say about its body. */
export interface MessageFacts {
  /** -1: not said. */
  contentLength: number
  /** CONNECT without `:protocol`: the body is a byte stream. */
  tunnel: boolean
  /** Of a response; 0 in requests. */
  status: number
}

const ILLEGAL_NAMES: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])
const SCHEME = /^[a-zA-Z][a-zA-Z0-9+.-]*$/
/** Without user information (RFC 9113 section 8.3.1). */
const AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]{0,5})?$/
const CONNECT_AUTHORITY = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+):[0-9]{1,5}$/
const PATH = /^\/[!"$-~]*$/

export function requestProblem(headers: readonly string[], facts: MessageFacts): string {
  let method: string | undefined
  let scheme: string | undefined
  let authority: string | undefined
  let path: string | undefined
  let protocol: string | undefined
  let at = 0
  for (; at < headers.length; at += 2) {
    const name = headers[at] as string
    if (name.charCodeAt(0) !== 58) break
    const value = headers[at + 1] as string
    let before: string | undefined
    switch (name) {
      case ':method':
        before = method
        method = value
        break
      case ':scheme':
        before = scheme
        scheme = value
        break
      case ':authority':
        before = authority
        authority = value
        break
      case ':path':
        before = path
        path = value
        break
      case ':protocol':
        before = protocol
        protocol = value
        break
      default:
        return 'unknown pseudo-header'
    }
    if (before !== undefined) return `pseudo-header ${name} repeated`
  }
  if (method === undefined || !isToken(method)) return 'no valid :method'
  facts.tunnel = method === 'CONNECT' && protocol === undefined
  if (facts.tunnel) {
    if (scheme !== undefined || path !== undefined) return 'CONNECT with :scheme or :path'
    if (authority === undefined || !CONNECT_AUTHORITY.test(authority)) return 'CONNECT without host and port'
  } else {
    if (scheme === undefined || !SCHEME.test(scheme)) return 'no valid :scheme'
    if (path === undefined || !(PATH.test(path) || (path === '*' && method === 'OPTIONS'))) return 'no valid :path'
    if (authority !== undefined && !AUTHORITY.test(authority)) return 'malformed :authority'
    if (protocol !== undefined) {
      if (method !== 'CONNECT') return ':protocol without CONNECT'
      if (!isToken(protocol)) return 'malformed :protocol'
      if (authority === undefined) return 'extended CONNECT without :authority'
    }
  }
  return fieldsProblem(headers, at, facts, authority, true)
}

export function responseProblem(headers: readonly string[], facts: MessageFacts): string {
  if (headers.length === 0 || headers[0] !== ':status') return 'no :status'
  const status = headers[1] as string
  if (!/^[1-9][0-9]{2}$/.test(status)) return 'malformed :status'
  facts.status = Number(status)
  // RFC 9113 section 8.6: there is no upgrade.
  if (facts.status === 101) return 'status 101'
  return fieldsProblem(headers, 2, facts, undefined, false)
}

export function trailersProblem(headers: readonly string[]): string {
  return fieldsProblem(headers, 0, undefined, undefined, false)
}

function fieldsProblem(
  headers: readonly string[],
  from: number,
  facts: MessageFacts | undefined,
  authority: string | undefined,
  request: boolean,
): string {
  let host = authority
  let hosts = 0
  for (let at = from; at < headers.length; at += 2) {
    const name = headers[at] as string
    const value = headers[at + 1] as string
    if (!isFieldName(name)) return name.startsWith(':') ? 'pseudo-header out of place' : 'malformed field name'
    if (!isFieldValue(value)) return `malformed value of ${name}`
    switch (name.length) {
      case 2:
        if (name === 'te' && value.toLowerCase() !== 'trailers') return 'te other than trailers'
        break
      case 4:
        if (name !== 'host' || !request) break
        if (hosts++ > 0) return 'host repeated'
        if (!AUTHORITY.test(value)) return 'malformed host'
        if (host !== undefined && host.toLowerCase() !== value.toLowerCase()) return 'host disagrees with :authority'
        host = value
        break
      case 14:
        if (name !== 'content-length') {
          if (ILLEGAL_NAMES.has(name)) return `connection-specific field ${name}`
          break
        }
        if (facts === undefined) return 'content-length in trailers'
        if (!/^[0-9]{1,15}$/.test(value)) return 'malformed content-length'
        if (facts.contentLength >= 0 && (request || facts.contentLength !== Number(value))) {
          return 'content-length repeated'
        }
        facts.contentLength = Number(value)
        break
      default:
        if (ILLEGAL_NAMES.has(name)) return `connection-specific field ${name}`
    }
  }
  return request && (host === undefined || host === '') ? 'neither :authority nor host' : ''
}

function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (!isTokenByte(text.charCodeAt(i))) return false
  return text.length > 0
}

/** Names that passed before; few are ever in use. */
const goodNames = new Set<string>()
const GOOD_NAMES_LIMIT = 512

/** A token without upper case. */
function isFieldName(name: string): boolean {
  if (goodNames.has(name)) return true
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    if ((code >= 65 && code <= 90) || !isTokenByte(code)) return false
  }
  if (name.length === 0) return false
  if (goodNames.size < GOOD_NAMES_LIMIT && name.length <= 64) goodNames.add(name)
  return true
}

/** No control characters but HTAB, no white space at the ends. */
function isFieldValue(value: string): boolean {
  const length = value.length
  if (length === 0) return true
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i)
    if ((code < 32 && code !== 9) || code === 127) return false
  }
  const first = value.charCodeAt(0)
  const last = value.charCodeAt(length - 1)
  return first !== 32 && first !== 9 && last !== 32 && last !== 9
}
