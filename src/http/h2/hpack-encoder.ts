/**
 * HPACK encoding (RFC 7541). Secrets are never indexed; values that seldom repeat are indexed only when
 * they do. A list whose every field is in the tables costs a comparison and a copy: its bytes are kept.
 */
import { putLatin1 } from './frames.ts'
import { huffmanLength, putHuffman } from './hpack-huffman.ts'
import { DEFAULT_TABLE_BYTES, ENTRY_OVERHEAD, STATIC_ENTRIES, STATIC_NAMES, STATIC_VALUES } from './hpack-tables.ts'

/** An entry of the dynamic table, linked to those with its name and to the next newer of all. */
interface Entry {
  readonly name: string
  readonly value: string
  /** Count of insertions when it was made. */
  readonly serial: number
  older: Entry | undefined
  newer: Entry | undefined
  next: Entry | undefined
}

interface KnownName {
  readonly index: number
  readonly values: ReadonlyMap<string, number>
}

const KNOWN: ReadonlyMap<string, KnownName> = (() => {
  const known = new Map<string, { index: number; values: Map<string, number> }>()
  for (let index = 1; index <= STATIC_ENTRIES; index++) {
    const name = STATIC_NAMES[index] as string
    const value = STATIC_VALUES[index] as string
    const entry = known.get(name) ?? { index, values: new Map<string, number>() }
    known.set(name, entry)
    // An empty value stands for a name without a value of its own, except where it is all there can be.
    if (value !== '') entry.values.set(value, index)
  }
  return known
})()

/** Never indexed, also by whoever passes them on (RFC 7541 section 7.1.3). */
const SECRET: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization', 'set-cookie'])
/** Seldom the same twice: indexed only when seen again of late. */
const VOLATILE: ReadonlySet<string> = new Set([
  ':path',
  'age',
  'baggage',
  'content-length',
  'content-range',
  'date',
  'etag',
  'expires',
  'forwarded',
  'grpc-timeout',
  'if-modified-since',
  'if-none-match',
  'last-modified',
  'location',
  'range',
  'traceparent',
  'tracestate',
  'x-forwarded-for',
  'x-request-id',
])

const KEPT_LISTS = 4
const RECENT_VALUES = 16

export class HpackEncoder {
  /** The last block: `block[0..length)`, valid until the next `encode`. */
  block = Buffer.allocUnsafeSlow(512)
  length = 0
  #maxBytes = DEFAULT_TABLE_BYTES
  /** Smallest size to announce at the start of the next block, and the size in force; -1: nothing to announce. */
  #smallest = -1
  #bytes = 0
  #serial = 0
  #oldest: Entry | undefined
  #newest: Entry | undefined
  readonly #byName = new Map<string, Entry>()
  readonly #recent: string[] = new Array(RECENT_VALUES).fill('')
  #nextRecent = 0
  readonly #kept: { list: readonly string[]; block: Buffer; serial: number }[] = []
  #nextKept = 0
  /** The list being encoded may look different next time. */
  #passing = false

  get tableBytes(): number {
    return this.#bytes
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; we never use more than the default. */
  setMaxTableBytes(peerBytes: number): void {
    const maxBytes = Math.min(peerBytes, DEFAULT_TABLE_BYTES)
    if (maxBytes === this.#maxBytes && this.#smallest < 0) return
    this.#smallest = this.#smallest < 0 ? maxBytes : Math.min(this.#smallest, maxBytes)
    this.#maxBytes = maxBytes
    this.#evict(this.#smallest)
  }

  /** Encodes [name, value, …] of latin1 strings, names in lower case, into `block`. */
  encode(list: readonly string[]): void {
    const serial = this.#serial
    this.length = 0
    if (this.#smallest >= 0) {
      if (this.#smallest < this.#maxBytes) this.#integer(0x20, 0x1f, this.#smallest)
      this.#integer(0x20, 0x1f, this.#maxBytes)
      this.#smallest = -1
    } else {
      const kept = this.#find(list)
      if (kept !== undefined) {
        kept.copy(this.block, 0, 0, kept.length)
        this.length = kept.length
        return
      }
    }
    const start = this.length
    this.#passing = false
    for (let i = 0; i + 1 < list.length; i += 2) this.#field(list[i] as string, list[i + 1] as string)
    // Indexes count from the newest entry, so bytes are good for as long as nothing is inserted.
    if (serial !== this.#serial || this.#passing) return
    this.#kept[this.#nextKept] = {
      list: list.slice(),
      block: Buffer.from(this.block.subarray(start, this.length)),
      serial,
    }
    this.#nextKept = (this.#nextKept + 1) % KEPT_LISTS
  }

  #find(list: readonly string[]): Buffer | undefined {
    for (let i = 0; i < this.#kept.length; i++) {
      const kept = this.#kept[i]
      if (kept === undefined || kept.serial !== this.#serial || kept.list.length !== list.length) continue
      let at = 0
      while (at < list.length && kept.list[at] === list[at]) at++
      if (at === list.length) return kept.block
    }
    return undefined
  }

  #field(name: string, value: string): void {
    const known = KNOWN.get(name)
    const secret = SECRET.has(name)
    let nameIndex = 0
    if (known !== undefined) {
      const index = known.values.get(value)
      if (index !== undefined) {
        this.#integer(0x80, 0x7f, index)
        return
      }
      nameIndex = known.index
    }
    if (!secret) {
      for (let entry = this.#byName.get(name); entry !== undefined; entry = entry.older) {
        const index = STATIC_ENTRIES + 1 + this.#serial - entry.serial
        if (entry.value === value) {
          this.#integer(0x80, 0x7f, index)
          return
        }
        if (nameIndex === 0) nameIndex = index
      }
    }
    const size = name.length + value.length + ENTRY_OVERHEAD
    const index = !secret && size <= this.#maxBytes / 2 && (!VOLATILE.has(name) || this.#seen(value))
    if (index) this.#integer(0x40, 0x3f, nameIndex)
    else this.#integer(secret ? 0x10 : 0x00, 0x0f, nameIndex)
    if (nameIndex === 0) this.#string(name, true)
    // What is sent once is not worth the coding; what is indexed goes over the wire once for many.
    this.#string(value, index || secret)
    if (index) this.#insert(name, value, size)
  }

  #seen(value: string): boolean {
    for (let i = 0; i < RECENT_VALUES; i++) if (this.#recent[i] === value) return true
    this.#recent[this.#nextRecent] = value
    this.#nextRecent = (this.#nextRecent + 1) % RECENT_VALUES
    this.#passing = true
    return false
  }

  #insert(name: string, value: string, size: number): void {
    this.#evict(this.#maxBytes - size)
    const older = this.#byName.get(name)
    const entry: Entry = { name, value, serial: ++this.#serial, older, newer: undefined, next: undefined }
    if (older !== undefined) older.newer = entry
    if (this.#newest !== undefined) this.#newest.next = entry
    this.#newest = entry
    this.#oldest ??= entry
    this.#byName.set(name, entry)
    this.#bytes += size
  }

  #evict(maxBytes: number): void {
    while (this.#bytes > maxBytes && this.#oldest !== undefined) {
      const entry = this.#oldest
      this.#bytes -= entry.name.length + entry.value.length + ENTRY_OVERHEAD
      this.#oldest = entry.next
      if (this.#oldest === undefined) this.#newest = undefined
      // It is the oldest of its name too.
      if (entry.newer !== undefined) entry.newer.older = undefined
      else this.#byName.delete(entry.name)
      // Kept blocks may point at it.
      this.#kept.length = 0
      this.#nextKept = 0
    }
  }

  #integer(pattern: number, mask: number, value: number): void {
    this.#reserve(6)
    const out = this.block
    if (value < mask) {
      out[this.length++] = pattern | value
      return
    }
    out[this.length++] = pattern | mask
    let rest = value - mask
    while (rest >= 128) {
      out[this.length++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    out[this.length++] = rest
  }

  #string(text: string, code: boolean): void {
    const coded = code ? huffmanLength(text) : text.length
    if (coded < text.length) {
      this.#integer(0x80, 0x7f, coded)
      this.#reserve(coded)
      this.length = putHuffman(this.block, this.length, text)
    } else {
      this.#integer(0, 0x7f, text.length)
      this.#reserve(text.length)
      putLatin1(this.block, this.length, text)
      this.length += text.length
    }
  }

  #reserve(bytes: number): void {
    if (this.length + bytes <= this.block.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.block.length * 2, this.length + bytes))
    this.block.copy(larger, 0, 0, this.length)
    this.block = larger
  }
}
