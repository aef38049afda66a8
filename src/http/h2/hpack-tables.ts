/** The tables of HPACK (RFC 7541 section 2.3 and appendix A). */

/** What an entry costs beside its text (RFC 7541 section 4.1). */
export const ENTRY_OVERHEAD = 32
export const DEFAULT_TABLE_BYTES = 4096

/** Names and values in turn, from index 1. */
// biome-ignore format: a table
const STATIC = [
  ':authority', '', ':method', 'GET', ':method', 'POST', ':path', '/', ':path', '/index.html', ':scheme', 'http',
  ':scheme', 'https', ':status', '200', ':status', '204', ':status', '206', ':status', '304', ':status', '400',
  ':status', '404', ':status', '500', 'accept-charset', '', 'accept-encoding', 'gzip, deflate', 'accept-language', '',
  'accept-ranges', '', 'accept', '', 'access-control-allow-origin', '', 'age', '', 'allow', '', 'authorization', '',
  'cache-control', '', 'content-disposition', '', 'content-encoding', '', 'content-language', '',
  'content-length', '', 'content-location', '', 'content-range', '', 'content-type', '', 'cookie', '', 'date', '',
  'etag', '', 'expect', '', 'expires', '', 'from', '', 'host', '', 'if-match', '', 'if-modified-since', '',
  'if-none-match', '', 'if-range', '', 'if-unmodified-since', '', 'last-modified', '', 'link', '', 'location', '',
  'max-forwards', '', 'proxy-authenticate', '', 'proxy-authorization', '', 'range', '', 'referer', '', 'refresh', '',
  'retry-after', '', 'server', '', 'set-cookie', '', 'strict-transport-security', '', 'transfer-encoding', '',
  'user-agent', '', 'vary', '', 'via', '', 'www-authenticate', '',
]

export const STATIC_ENTRIES = STATIC.length / 2
/** By index; 0 is not an index. */
export const STATIC_NAMES: readonly string[] = ['', ...STATIC.filter((_, i) => i % 2 === 0)]
export const STATIC_VALUES: readonly string[] = ['', ...STATIC.filter((_, i) => i % 2 === 1)]

/** The dynamic table of a decoder: a ring of entries, newest first by index. */
export class DynamicTable {
  /** Ring capacity is a power of two. */
  #names: string[] = new Array(32).fill('')
  #values: string[] = new Array(32).fill('')
  #newest = 0
  #count = 0
  #bytes = 0
  #maxBytes: number

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Name of entry `index`, 0 the newest; only below `count`. */
  name(index: number): string {
    return this.#names[(this.#newest - index) & (this.#names.length - 1)] as string
  }

  value(index: number): string {
    return this.#values[(this.#newest - index) & (this.#values.length - 1)] as string
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes
    this.#evict(maxBytes)
  }

  /** An entry larger than the table empties it (RFC 7541 section 4.4). */
  add(name: string, value: string): void {
    const size = name.length + value.length + ENTRY_OVERHEAD
    this.#evict(this.#maxBytes - size)
    if (size > this.#maxBytes) return
    if (this.#count === this.#names.length) this.#grow()
    this.#newest = (this.#newest + 1) & (this.#names.length - 1)
    this.#names[this.#newest] = name
    this.#values[this.#newest] = value
    this.#count++
    this.#bytes += size
  }

  #evict(maxBytes: number): void {
    while (this.#bytes > maxBytes && this.#count > 0) {
      const oldest = (this.#newest - this.#count + 1) & (this.#names.length - 1)
      const name = this.#names[oldest] as string
      const value = this.#values[oldest] as string
      this.#bytes -= name.length + value.length + ENTRY_OVERHEAD
      this.#names[oldest] = ''
      this.#values[oldest] = ''
      this.#count--
    }
  }

  #grow(): void {
    const names: string[] = []
    const values: string[] = []
    for (let i = this.#count - 1; i >= 0; i--) {
      names.push(this.name(i))
      values.push(this.value(i))
    }
    this.#newest = this.#count - 1
    const spare = new Array<string>(this.#count).fill('')
    this.#names = names.concat(spare)
    this.#values = values.concat(spare)
  }
}
