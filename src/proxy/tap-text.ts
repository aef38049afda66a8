/**
 * What of a request may be shown to whoever looks at live traffic. Values of fields that hold secrets, query strings and
 * passwords in URLs are left out here, before anything leaves the proxy; in doubt less is shown.
 */
import { isRedactedField, isSecretParameter } from '#contract'
import type { Head } from '#http'
import { jsonText } from '#telemetry'
import { isMeshHeader } from './mesh-headers.ts'

const REDACTED = '[redacted]'
/** Of one head; what is beyond is left out, and that is told. */
const MAX_FIELDS = 64
const MAX_VALUE_CHARS = 1024
const MAX_FIELDS_CHARS = 8192

/** A scheme of RFC 9110 section 11.1 before its credentials, whatever the field is called. */
const CREDENTIALS =
  /^[\s"']*(?:bearer|basic|digest|negotiate|ntlm|hmac|aws4-hmac-sha256|token|apikey|scram|hoba|mutual|vapid|dpop|gnap)\b/i
/** How a JSON Web Token begins (RFC 7519): an object, encoded. */
const WEB_TOKEN_START = 'eyJ'
const WEB_TOKEN_PART = /^[\w-]+$/
/** Somewhere in a value; no name is longer. */
const PARAMETER = /([\w.-]{1,64})=/g
/** RFC 3986 section 3.2.1. */
const USER_INFO = /\/\/[^/?#]*@/g
/** Some servers decode before they split. */
const PATH_PARAMETER = /(;|%3b)((?:(?!%3b|%3d)[^/;=])*)(=|%3d)[^/;]*/gi

/** @param query without its question mark; empty: there is none */
export function shownPath(path: string, query: string, showQueries: boolean): string {
  // A fragment has no business in a request (RFC 9110 section 7.1), but some clients send one.
  const hash = showQueries ? -1 : path.indexOf('#')
  let shown = hash < 0 ? path : `${path.slice(0, hash)}#…`
  if (shown.includes(';') || shown.includes('%3')) {
    shown = shown.replace(PATH_PARAMETER, (all, sign: string, name: string, equals: string) =>
      isSecretParameter(name) ? `${sign}${name}${equals}${REDACTED}` : all,
    )
  }
  if (shown.includes(WEB_TOKEN_START)) {
    const segments = shown.split('/')
    shown = segments.map((segment) => (holdsWebToken(segment) ? REDACTED : segment)).join('/')
  }
  if (query === '') return shown
  return showQueries ? `${shown}?${query}` : `${shown}?…`
}

/** In a time that grows with the length alone, whatever a stranger has sent: proxies do this while others wait. */
function holdsWebToken(text: string): boolean {
  if (!text.includes(WEB_TOKEN_START)) return false
  const parts = text.split('.')
  return parts.some((part, at) => {
    const next = parts[at + 1]
    if (next === undefined || parts[at + 2] === undefined || !WEB_TOKEN_PART.test(next)) return false
    const start = part.lastIndexOf(WEB_TOKEN_START)
    return start >= 0 && WEB_TOKEN_PART.test(part.slice(start))
  })
}

function namesSecret(value: string): boolean {
  if (!value.includes('=')) return false
  for (const [, name = ''] of value.matchAll(PARAMETER)) if (isSecretParameter(name)) return true
  return false
}

/** Without what stands before the host. */
export function shownAuthority(authority: string): string {
  const at = authority.lastIndexOf('@')
  return (at < 0 ? authority : `${REDACTED}@${authority.slice(at + 1)}`).slice(0, MAX_VALUE_CHARS)
}

/** Of a field whose name says nothing of secrets. */
function shownValue(value: string, showQueries: boolean): string {
  if (CREDENTIALS.test(value) || holdsWebToken(value)) return REDACTED
  const withoutUser = value.includes('@') ? value.replace(USER_INFO, `//${REDACTED}@`) : value
  // Anything may be a URL: a Referer, a Location, what a proxy has added.
  const end = showQueries ? -1 : withoutUser.search(/[?#]/)
  const shown = end < 0 ? withoutUser : `${withoutUser.slice(0, end + 1)}…`
  const cut = shown.length > MAX_VALUE_CHARS ? `${shown.slice(0, MAX_VALUE_CHARS)}…` : shown
  return !showQueries && namesSecret(cut) ? REDACTED : cut
}

export interface ShownFields {
  /** A JSON object, by name in lower case. */
  readonly json: string
  /** There were more. */
  readonly cut: boolean
}

/** @param fields [name, value, …] */
export function shownFields(fields: readonly string[], redact: readonly string[], showQueries: boolean): ShownFields {
  const shown = new Map<string, string>()
  let chars = 0
  let cut = false
  for (let i = 0; i < fields.length; i += 2) {
    const name = (fields[i] as string).toLowerCase()
    if (isMeshHeader(name.replaceAll('_', '-'))) continue
    const before = shown.get(name)
    const secret = isRedactedField(name, redact)
    const sent = fields[i + 1] as string
    const value = secret ? REDACTED : name === 'host' ? shownAuthority(sent) : shownValue(sent, showQueries)
    const more = before === undefined ? value.length + name.length : value.length
    if ((before === undefined && shown.size === MAX_FIELDS) || chars + more > MAX_FIELDS_CHARS) {
      cut = true
      continue
    }
    chars += more
    shown.set(name, before === undefined || secret ? value : `${before}, ${value}`)
  }
  const json = Array.from(shown, ([name, value]) => `${jsonText(name)}:${jsonText(value)}`).join(',')
  return { json: `{${json}}`, cut }
}

/** [name, value, …] of a message of HTTP/1.x. */
export function fieldsOfHead(head: Head): readonly string[] {
  const fields: string[] = []
  for (let i = 0; i < head.headerCount; i++) fields.push(head.name(i), head.value(i))
  return fields
}
