/** Checks of names and texts that several kinds share. */
import { isIP } from 'node:net'

const TOKEN = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/

/** RFC 9110 section 5.6.2, up to 256 characters as the Gateway API bounds it. */
export function checkHeaderName(text: string): string | undefined {
  if (TOKEN.test(text) && text.length <= 256) return undefined
  return `expected a header name (RFC 9110 token), got ${JSON.stringify(text)}`
}

/** No control characters but tab: a line break would let a value write headers of its own. */
export function checkHeaderValue(text: string): string | undefined {
  if (text.length < 1 || text.length > 4096) return `expected 1 to 4096 characters, got ${text.length}`
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) {
      return 'contains a control character or one beyond Latin-1, which no header value can carry'
    }
  }
  return undefined
}

/** A Kubernetes namespace or Service name (RFC 1123 label). */
export function checkLabelName(text: string): string | undefined {
  return LABEL.test(text)
    ? undefined
    : `expected a name of lower-case letters, digits and -, got ${JSON.stringify(text)}`
}

/** RFC 1123 subdomain, up to 253 characters. */
export function checkSubdomain(text: string): string | undefined {
  if (SUBDOMAIN.test(text) && text.length <= 253) return undefined
  return `expected a name of lower-case letters, digits, - and ., got ${JSON.stringify(text)}`
}

/** A host name without wildcard and not an IP address, as the Gateway API's PreciseHostname. */
export function checkPreciseHostname(text: string): string | undefined {
  if (isIP(text) !== 0) return `expected a host name, got the IP address ${text}`
  return checkSubdomain(text) === undefined ? undefined : `expected a host name, got ${JSON.stringify(text)}`
}

/** A host name that may begin with the wildcard label `*.`. */
export function checkHostname(text: string): string | undefined {
  return checkPreciseHostname(text.startsWith('*.') ? text.slice(2) : text)
}

/** Long expressions are refused: they cost compile time in every proxy. */
const MAX_PATTERN_CHARACTERS = 1024

/** A JavaScript regular expression, which matches the whole value; without inline flags such as `(?i)`. */
export function checkRegularExpression(text: string): string | undefined {
  if (text.length > MAX_PATTERN_CHARACTERS) {
    return `the regular expression has ${text.length} characters, at most ${MAX_PATTERN_CHARACTERS} are allowed`
  }
  try {
    // The text must stand by itself: unbalanced parentheses could balance against the wrapping.
    new RegExp(text)
    new RegExp(`^(?:${text})$`)
    return undefined
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(error.message.lastIndexOf(': ') + 2) : String(error)
    return `the regular expression ${JSON.stringify(text)} does not compile: ${reason}`
  }
}
