/**
 * The server name in a TLS ClientHello, read and never changed. A pure function of the first bytes of a connection:
 * bounded, over any number of records and packets. Bias: where servers might read another name than this reader
 * (two names, two extensions, bytes that no host name has), there is none to go by: `unreadable`, not a guess.
 */

export type HelloReading =
  /** Undecided, give more bytes. */
  | { readonly kind: 'more' }
  /** No TLS. */
  | { readonly kind: 'other' }
  /** TLS, or what a server may take for it, without a name that is certain. */
  | { readonly kind: 'unreadable'; readonly why: string }
  /** `serverName`: lower case, without a dot at the end; empty when the client names none (RFC 6066 section 3). */
  | { readonly kind: 'hello'; readonly serverName: string }

/** Of records, headers included: the largest hellos of today (post-quantum key shares) have 2 to 4 KiB. */
export const MAX_HELLO_BYTES = 32_768
/** A hello in more pieces than this is made to tire readers. */
const MAX_RECORDS = 64
/** RFC 8446 section 5.1. */
const MAX_FRAGMENT_BYTES = 16_384

const RECORD_HEADER_BYTES = 5
const ALERT = 21
const HANDSHAKE = 22
const CLIENT_HELLO = 1
const SERVER_NAME = 0
const HOST_NAME = 0

const MORE: HelloReading = { kind: 'more' }
const OTHER: HelloReading = { kind: 'other' }
const NO_NAME: HelloReading = { kind: 'hello', serverName: '' }

function unreadable(why: string): HelloReading {
  return { kind: 'unreadable', why }
}

/** @param end of what is there of the connection's first bytes, from `start` */
export function readClientHello(bytes: Uint8Array, start = 0, end = bytes.length): HelloReading {
  if (start >= end) return MORE
  const type = bytes[start]
  if (type !== HANDSHAKE && type !== ALERT) return OTHER
  if (end - start < 2) return MORE
  // Servers are told to ignore the version of a record (RFC 8446 section 5.1); those that look take no more than this.
  if ((bytes[start + 1] ?? 0) >= 0x10) return OTHER
  if (type === ALERT) return unreadable('an alert comes before the ClientHello')
  const fragments: Uint8Array[] = []
  let have = 0
  let need = Number.POSITIVE_INFINITY
  for (let at = start; have < need; ) {
    if (fragments.length === MAX_RECORDS) return unreadable(`the ClientHello is in more than ${MAX_RECORDS} records`)
    if (at - start > MAX_HELLO_BYTES) return unreadable(`the ClientHello is longer than ${MAX_HELLO_BYTES} bytes`)
    if (at < end && bytes[at] !== HANDSHAKE) return unreadable('another record comes within the ClientHello')
    if (end - at < RECORD_HEADER_BYTES) return MORE
    const length = uint16(bytes, at + 3)
    if (length === 0 || length > MAX_FRAGMENT_BYTES) return unreadable(`a record of ${length} bytes`)
    at += RECORD_HEADER_BYTES
    const fragment = bytes.subarray(at, Math.min(end, at + length))
    fragments.push(fragment)
    have += fragment.length
    if (need === Number.POSITIVE_INFINITY) need = messageBytes(fragments, have)
    if (need === 0) return unreadable('the first handshake message is no ClientHello')
    if (need > MAX_HELLO_BYTES && need !== Number.POSITIVE_INFINITY) {
      return unreadable(`the ClientHello is longer than ${MAX_HELLO_BYTES} bytes`)
    }
    if (fragment.length < length && have < need) return MORE
    at += length
  }
  return readMessage(joined(fragments, need))
}

/** Length of the handshake message with its header; infinite while that is not here, 0 when it is no ClientHello. */
function messageBytes(fragments: readonly Uint8Array[], have: number): number {
  const head = joined(fragments, Math.min(4, have))
  if (head.length > 0 && head[0] !== CLIENT_HELLO) return 0
  return head.length < 4 ? Number.POSITIVE_INFINITY : 4 + (head[1] ?? 0) * 65_536 + uint16(head, 2)
}

function joined(fragments: readonly Uint8Array[], length: number): Uint8Array {
  const [first] = fragments
  if (first !== undefined && first.length >= length) return first.subarray(0, length)
  const all = new Uint8Array(length)
  let at = 0
  for (const fragment of fragments) {
    const part = fragment.subarray(0, length - at)
    all.set(part, at)
    at += part.length
  }
  return all
}

/** A place in a message; reading beyond its end fails the whole. */
class Cursor {
  readonly #bytes: Uint8Array
  #at: number
  failed = false

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) {
      this.failed = true
      this.#at = this.#bytes.length
      return EMPTY
    }
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  number(size: 1 | 2): number {
    const bytes = this.take(size)
    return size === 1 ? (bytes[0] ?? 0) : uint16(bytes, 0)
  }

  /** What a length of `size` bytes announces. */
  vector(size: 1 | 2): Uint8Array {
    return this.take(this.number(size))
  }
}

const EMPTY = new Uint8Array(0)

/** RFC 8446 section 4.1.2, and the same since TLS 1.0. */
function readMessage(message: Uint8Array): HelloReading {
  const hello = new Cursor(message, 4)
  hello.take(2 + 32)
  hello.vector(1)
  const suites = hello.vector(2)
  const compressions = hello.vector(1)
  if (hello.failed || suites.length < 2 || compressions.length < 1) return unreadable('the ClientHello is malformed')
  // TLS 1.0 to 1.2 may do without extensions.
  if (hello.done) return NO_NAME
  const extensions = new Cursor(hello.vector(2), 0)
  if (hello.failed || !hello.done) return unreadable('the ClientHello is malformed')
  let found: Uint8Array | undefined
  while (!extensions.done) {
    const type = extensions.number(2)
    const body = extensions.vector(2)
    if (extensions.failed) return unreadable('the extensions of the ClientHello are malformed')
    if (type !== SERVER_NAME) continue
    if (found !== undefined) return unreadable('the ClientHello has two server_name extensions')
    found = body
  }
  return found === undefined ? NO_NAME : readServerName(found)
}

function readServerName(body: Uint8Array): HelloReading {
  const extension = new Cursor(body, 0)
  const names = new Cursor(extension.vector(2), 0)
  const type = names.number(1)
  const name = names.vector(2)
  if (extension.failed || !extension.done || names.failed) return unreadable('the server_name extension is malformed')
  if (!names.done || type !== HOST_NAME) return unreadable('the server_name extension has more than one host name')
  const text = hostText(name)
  return text === undefined ? unreadable('the server name is no host name') : { kind: 'hello', serverName: text }
}

/** Letters, digits, `-`, `_` and single dots; lower-cased, one dot at the end taken off. */
function hostText(name: Uint8Array): string | undefined {
  if (name.length === 0 || name.length > 254) return undefined
  let text = ''
  for (const byte of name) text += String.fromCharCode(byte)
  const bare = text.toLowerCase().replace(/\.$/, '')
  return /^[a-z0-9_:-]+(\.[a-z0-9_-]+)*$/.test(bare) ? bare : undefined
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0)
}
