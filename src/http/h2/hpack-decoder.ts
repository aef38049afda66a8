/**
 * HPACK decoding (RFC 7541): header blocks to flat lists of latin1 names and values. What a block may
 * make us hold is bounded by the table and by the size of the list; a list that is too large is still
 * decoded to its end, so that the table stays in step with the peer's.
 */
import { latin1 } from '../latin1.ts'
import { readHuffman } from './hpack-huffman.ts'
import {
  DEFAULT_TABLE_BYTES,
  DynamicTable,
  ENTRY_OVERHEAD,
  STATIC_ENTRIES,
  STATIC_NAMES,
  STATIC_VALUES,
} from './hpack-tables.ts'

/** Integers are below this; RFC 7541 section 5.1 leaves the bound to us. */
const MAX_INTEGER = 2 ** 28

export class HpackDecoder {
  /** Why the last block was malformed (a COMPRESSION_ERROR: nothing can be decoded any more); empty otherwise. */
  problem = ''
  /** The last list was larger than allowed and is incomplete. */
  tooLarge = false
  readonly #table = new DynamicTable(DEFAULT_TABLE_BYTES)
  readonly #maxListBytes: number
  /** Where the integer or string just read ends. */
  #at = 0

  constructor(maxListBytes: number) {
    this.#maxListBytes = maxListBytes
  }

  get tableBytes(): number {
    return this.#table.bytes
  }

  /** Decodes the block in [start, end) to [name, value, …]; undefined: see `problem`. */
  decode(bytes: Buffer, start: number, end: number): string[] | undefined {
    this.problem = ''
    this.tooLarge = false
    const list: string[] = []
    const table = this.#table
    let listBytes = 0
    let updates = 0
    this.#at = start
    while (this.#at < end) {
      const first = bytes[this.#at] as number
      let name: string
      let value: string
      if (first >= 0x80) {
        const index = this.#integer(bytes, end, 0x7f)
        if (index <= 0) return this.#bad(index === 0 ? 'index 0' : 'malformed integer')
        if (index <= STATIC_ENTRIES) {
          name = STATIC_NAMES[index] as string
          value = STATIC_VALUES[index] as string
        } else {
          if (index - STATIC_ENTRIES > table.count) return this.#bad('index beyond the table')
          name = table.name(index - STATIC_ENTRIES - 1)
          value = table.value(index - STATIC_ENTRIES - 1)
        }
      } else if (first >= 0x20 && first < 0x40) {
        const size = this.#integer(bytes, end, 0x1f)
        if (size < 0 || size > DEFAULT_TABLE_BYTES) return this.#bad('table size update beyond the limit')
        if (listBytes > 0 || ++updates > 2) return this.#bad('table size update out of place')
        table.resize(size)
        continue
      } else {
        const indexed = first >= 0x40
        const index = this.#integer(bytes, end, indexed ? 0x3f : 0x0f)
        if (index < 0) return this.#bad('malformed integer')
        if (index === 0) {
          const text = this.#string(bytes, end)
          if (text === undefined) return undefined
          name = text
        } else if (index <= STATIC_ENTRIES) name = STATIC_NAMES[index] as string
        else {
          if (index - STATIC_ENTRIES > table.count) return this.#bad('index beyond the table')
          name = table.name(index - STATIC_ENTRIES - 1)
        }
        const text = this.#string(bytes, end)
        if (text === undefined) return undefined
        value = text
        if (indexed) table.add(name, value)
      }
      listBytes += name.length + value.length + ENTRY_OVERHEAD
      if (listBytes > this.#maxListBytes) this.tooLarge = true
      else list.push(name, value)
    }
    return list
  }

  #bad(problem: string): undefined {
    this.problem = problem
    return undefined
  }

  /** An integer with a prefix of as many bits as `mask` has; -1: malformed. */
  #integer(bytes: Buffer, end: number, mask: number): number {
    let value = (bytes[this.#at++] as number) & mask
    if (value < mask) return value
    for (let scale = 1; ; scale *= 128) {
      if (this.#at >= end) return -1
      const byte = bytes[this.#at++] as number
      value += (byte & 0x7f) * scale
      // Also bounds the length: zeros do not go on for ever.
      if (value >= MAX_INTEGER || scale >= MAX_INTEGER) return -1
      if (byte < 0x80) return value
    }
  }

  #string(bytes: Buffer, end: number): string | undefined {
    if (this.#at >= end) return this.#bad('block ends before a string')
    const huffman = (bytes[this.#at] as number) >= 0x80
    const length = this.#integer(bytes, end, 0x7f)
    if (length < 0) return this.#bad('malformed string length')
    const start = this.#at
    if (length > end - start) return this.#bad('string longer than its block')
    this.#at = start + length
    if (!huffman) return latin1(bytes, start, start + length)
    return readHuffman(bytes, start, start + length) ?? this.#bad('malformed Huffman code')
  }
}
