/**
 * The path that policies are matched against. Istio's strictest option, DECODE_AND_MERGE_SLASHES
 * (MeshConfig.ProxyConfig.PathNormalization), and a little stricter. Only matching uses it: what is
 * forwarded stays untouched, so wherever servers are known to read one request-target differently,
 * all their readings are given, and the rule decides with the one that closes.
 *
 * Canonical form: `\`, `%2F` and `%5C` are slashes; runs of slashes are one; `.` and `..` are resolved,
 * however encoded; encoded unreserved characters, sub-delimiters, `:` and `@` are decoded; everything
 * else is encoded with upper-case hex (RFC 3986 sections 2.3, 5.2.4, 6.2.2). `%25`, `%3F`, `%23` stay.
 * Rejected: malformed percent-encoding, control characters and space, raw `?` or `#`, bytes that
 * begin no shortest-form UTF-8 sequence (overlong `%C0%AF`). Case is significant (RFC 3986 section 6.2.2.1, as in
 * Istio) and so is a trailing dot.
 */

/** Plain paths, the overwhelming majority: nothing to decode, merge or resolve. Linear: `/` delimits each turn. */
const PLAIN = /^(?:\/(?![./])[A-Za-z0-9_.~-]*)+$/

const HEX = '0123456789ABCDEF'
const SLASH = 47
const BACKSLASH = 92
const PERCENT = 37

/** 1 for characters that stand for themselves in the canonical form (pchar of RFC 3986 without pct-encoded, and `/`). */
const literal = new Uint8Array(256)
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/") {
  literal[character.charCodeAt(0)] = 1
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

/** The byte of the escape at text[index] (`%`), or -1 when it is malformed. */
function escapedByte(text: string, index: number): number {
  const high = hexDigit(text.charCodeAt(index + 1))
  const low = hexDigit(text.charCodeAt(index + 2))
  return high < 0 || low < 0 ? -1 : high * 16 + low
}

function encode(byte: number): string {
  return `%${HEX.charAt(byte >> 4)}${HEX.charAt(byte & 15)}`
}

interface Decoded {
  readonly text: string
  /** A `\` or an encoded slash or backslash was taken for a slash. */
  readonly foreignSlash: boolean
}

/**
 * Which of `\\`, `%2F` and `%5C` are ordinary characters: none (the canonical reading), the encoded ones (WHATWG
 * URL), or all (RFC 3986).
 */
type Opaque = 'none' | 'encoded' | 'all'

/** A reading's characters, canonical; slashes and dots are not yet acted on. A string says why it is rejected. */
function decode(raw: string, opaque: Opaque): Decoded | string {
  let text = ''
  let foreignSlash = false
  let previous = 0
  for (let index = 0; index < raw.length; index++) {
    let byte = raw.charCodeAt(index)
    let escaped = false
    if (byte === PERCENT) {
      byte = escapedByte(raw, index)
      if (byte < 0) return 'malformed percent-encoding'
      escaped = true
      index += 2
    } else if (byte === 35 || byte === 63) return 'a raw # or ?'
    else if (byte === 32) return 'a space'
    if (byte > 255) return 'a character that is not a byte'
    if (byte < 32 || byte === 127) return 'a control character'
    // RFC 3629 section 4: bytes that begin no sequence, and the overlong forms of three and four bytes.
    if (byte === 0xc0 || byte === 0xc1 || byte > 0xf4) return 'overlong or impossible UTF-8'
    if (byte >= 0x80 && ((previous === 0xe0 && byte < 0xa0) || (previous === 0xf0 && byte < 0x90)))
      return 'overlong UTF-8'
    previous = byte
    if (byte === BACKSLASH || (byte === SLASH && escaped)) {
      foreignSlash = true
      text += opaque === 'none' || (opaque === 'encoded' && !escaped) ? '/' : encode(byte)
    } else text += literal[byte] === 1 ? String.fromCharCode(byte) : encode(byte)
  }
  return { text, foreignSlash }
}

function mergeSlashes(text: string): string {
  return text.includes('//') ? text.replace(/\/{2,}/g, '/') : text
}

/** RFC 3986 section 5.2.4; `..` at the root stays at the root. */
function resolveDots(text: string): string {
  if (!text.includes('/.')) return text
  const kept: string[] = []
  const segments = text.split('/')
  for (let index = 1; index < segments.length; index++) {
    const segment = segments[index] ?? ''
    const last = index === segments.length - 1
    if (segment === '..') kept.pop()
    else if (segment !== '.') {
      kept.push(segment)
      continue
    }
    if (last) kept.push('')
  }
  return `/${kept.join('/')}`
}

function canonical(decoded: string): string {
  return mergeSlashes(resolveDots(mergeSlashes(decoded)))
}

/** Matrix parameters removed from every segment (RFC 3986 section 3.3; servlet containers route without them). */
function withoutParameters(decoded: string): string {
  return decoded.replace(/;[^/]*/g, '')
}

/** A path encoded more often than this has no honest sender, and costs a round each time. */
const MAX_ENCODINGS = 5

/**
 * Decodes as a server does that decodes more than once; escapes that are malformed or of controls stay.
 * Undefined when it is encoded more than MAX_ENCODINGS times.
 */
function decodeDeeply(text: string): string | undefined {
  let current = text
  for (let round = 1; current.includes('%25'); round++) {
    if (round === MAX_ENCODINGS) return undefined
    current = current.replace(/%25/g, '%').replace(/%([0-9A-Fa-f]{2})/g, (escaped, hex: string) => {
      const byte = Number.parseInt(hex, 16)
      if (byte === SLASH || byte === BACKSLASH) return '/'
      return literal[byte] === 1 ? String.fromCharCode(byte) : escaped.toUpperCase()
    })
  }
  return current
}

/** A normalised path, or the reason why requests with it are to be refused (400). */
export type NormalizedPath = { readonly path: string } | { readonly reject: string }

function begin(rawPath: string): Decoded | string {
  const first = rawPath.charCodeAt(0)
  if (first !== SLASH && first !== BACKSLASH) return 'it does not begin with a slash'
  return decode(rawPath, 'none')
}

/** Takes the raw path, without query, one character per byte. Idempotent. `*` (OPTIONS) is itself. */
export function normalizePath(rawPath: string): NormalizedPath {
  if (rawPath === '*' || PLAIN.test(rawPath)) return { path: rawPath }
  const readings: string[] = []
  const reject = readPaths(rawPath, readings)
  return reject === undefined ? { path: readings[0] ?? '/' } : { reject }
}

/**
 * Replaces the contents of `into` with every reading of a path, the canonical one first; returns
 * undefined, or the reason why it is rejected. The other readings, each only where it differs:
 * dot segments not resolved (routers that match the raw target); `%2F` and `\` opaque; dots resolved before
 * slashes are merged (WHATWG URL); `//host/path` as a network-path reference (RFC 3986 section 4.2);
 * `;parameters` dropped, then dots resolved (`/..;/`); decoded until nothing is left to decode.
 */
export function readPaths(rawPath: string, into: string[]): string | undefined {
  into.length = 0
  if (rawPath === '*' || PLAIN.test(rawPath)) {
    into.push(rawPath)
    return undefined
  }
  const decoded = begin(rawPath)
  if (typeof decoded === 'string') return decoded
  addReadings(into, decoded.text)
  if (decoded.foreignSlash) {
    addOpaque(into, rawPath, 'encoded')
    addOpaque(into, rawPath, 'all')
  }
  if (decoded.text.includes('%25')) {
    const deep = decodeDeeply(decoded.text)
    if (deep === undefined) return 'percent-encoded too many times over'
    addReadings(into, deep)
  }
  return undefined
}

/** Slashes that are ordinary characters while dots are resolved, and afterwards perhaps slashes after all. */
function addOpaque(into: string[], rawPath: string, opaque: Opaque): void {
  const decoded = decode(rawPath, opaque)
  if (typeof decoded === 'string' || !decoded.text.startsWith('/')) return
  const readings: string[] = []
  addReadings(readings, decoded.text)
  for (const reading of readings) {
    add(into, reading)
    addResolved(into, reading.replace(/%2F|%5C/g, '/'))
  }
}

/** The canonical path of the text first, then what else servers make of its slashes, dots and parameters. */
function addReadings(into: string[], text: string): void {
  addResolved(into, text)
  if (text.includes('/.')) add(into, mergeSlashes(text))
  if (text.startsWith('//')) addResolved(into, `/${text.replace(/^\/+[^/]*\/?/, '')}`)
  if (text.includes(';')) addResolved(into, withoutParameters(text))
}

function addResolved(into: string[], text: string): void {
  add(into, canonical(text))
  if (text.includes('//') && text.includes('/..')) add(into, mergeSlashes(resolveDots(text)))
}

function add(into: string[], reading: string): void {
  if (!into.includes(reading)) into.push(reading)
}

/**
 * The literal part of a policy's path in canonical characters, so that policy and request are written
 * alike: `/caf\u00e9`, `/caf%c3%a9` and `/caf%C3%A9` are one. A `%` that begins no escape is a percent sign.
 * Undefined for text that no path can carry (controls, lone surrogates).
 */
export function canonicalPathLiteral(text: string): string | undefined {
  let result = ''
  for (let index = 0; index < text.length; index++) {
    const code = text.codePointAt(index) ?? 0
    if (code < 32 || code === 127 || (code >= 0xd800 && code <= 0xdfff)) return undefined
    if (code > 127) {
      const character = String.fromCodePoint(code)
      result += encodeURIComponent(character)
      index += character.length - 1
      continue
    }
    const byte = code === PERCENT ? escapedByte(text, index) : code
    if (byte < 0) {
      result += '%25'
      continue
    }
    if (code === PERCENT) index += 2
    if (byte < 32 || byte === 127) return undefined
    result += byte === BACKSLASH ? '/' : literal[byte] === 1 ? String.fromCharCode(byte) : encode(byte)
  }
  return mergeSlashes(result)
}

/** As `canonicalPathLiteral`, for a whole path: dot segments are resolved too. */
export function canonicalWholePath(text: string): string | undefined {
  const characters = canonicalPathLiteral(text)
  return characters?.startsWith('/') === true ? canonical(characters) : characters
}
