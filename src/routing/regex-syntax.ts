/**
 * Parses the regular expressions of routes into a tree: RE2's syntax without captures, Unicode
 * properties and word boundaries. What cannot be matched in linear time (backreferences,
 * lookaround) is refused here, so that no expression can stall a proxy that many pods share.
 */

/** Sorted, disjoint, inclusive ranges of UTF-16 code units: lo, hi, lo, hi, … */
export type CharSet = readonly number[]

export type RegexNode =
  | { readonly kind: 'set'; readonly set: CharSet }
  | { readonly kind: 'cat'; readonly parts: readonly RegexNode[] }
  | { readonly kind: 'alt'; readonly options: readonly RegexNode[] }
  /** `max` is undefined for no upper bound. */
  | { readonly kind: 'repeat'; readonly node: RegexNode; readonly min: number; readonly max: number | undefined }
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }

export type ParsedRegex =
  | { readonly ok: true; readonly node: RegexNode }
  | { readonly ok: false; readonly error: string }

const MAX_UNIT = 0xffff
const MAX_DEPTH = 200
/** RE2's bound. */
const MAX_REPEAT = 1000

const DIGIT: CharSet = [0x30, 0x39]
const WORD: CharSet = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a]
const SPACE: CharSet = [0x09, 0x0a, 0x0c, 0x0d, 0x20, 0x20]
const ANY: CharSet = [0, MAX_UNIT]
const ANY_BUT_NEWLINE: CharSet = [0, 0x09, 0x0b, MAX_UNIT]

const CLASS_ESCAPES: ReadonlyMap<string, CharSet> = new Map([
  ['d', DIGIT],
  ['D', invert(DIGIT)],
  ['w', WORD],
  ['W', invert(WORD)],
  ['s', SPACE],
  ['S', invert(SPACE)],
])
const CONTROL_ESCAPES: ReadonlyMap<string, number> = new Map([
  ['a', 7],
  ['f', 12],
  ['t', 9],
  ['n', 10],
  ['r', 13],
  ['v', 11],
])

export function parseRegex(pattern: string): ParsedRegex {
  const parser = new RegexParser(pattern)
  const node = parser.parse()
  return parser.error === undefined ? { ok: true, node } : { ok: false, error: parser.error }
}

const EMPTY: RegexNode = { kind: 'cat', parts: [] }

class RegexParser {
  error: string | undefined
  readonly #text: string
  #at: number
  #depth: number
  #ignoreCase: boolean
  #dotAll: boolean

  constructor(text: string) {
    this.error = undefined
    this.#text = text
    this.#at = 0
    this.#depth = 0
    this.#ignoreCase = false
    this.#dotAll = false
  }

  parse(): RegexNode {
    const node = this.#alternation()
    if (this.error === undefined && this.#at < this.#text.length) this.#fail('unmatched )')
    return node
  }

  /** After the first error every loop stops, for the position is moved to the end. */
  #fail(what: string): RegexNode {
    this.error ??= `${what} at offset ${this.#at} of ${JSON.stringify(this.#text)}`
    this.#at = this.#text.length
    return EMPTY
  }

  #peek(): string {
    return this.#text.charAt(this.#at)
  }

  #take(expected: string): boolean {
    if (!this.#text.startsWith(expected, this.#at)) return false
    this.#at += expected.length
    return true
  }

  #alternation(): RegexNode {
    const options = [this.#sequence()]
    while (this.#take('|')) options.push(this.#sequence())
    return options.length === 1 ? (options[0] ?? EMPTY) : { kind: 'alt', options }
  }

  #sequence(): RegexNode {
    const parts: RegexNode[] = []
    while (this.#at < this.#text.length && this.#peek() !== '|' && this.#peek() !== ')') {
      parts.push(this.#repeated(this.#atom()))
    }
    return { kind: 'cat', parts }
  }

  #repeated(atom: RegexNode): RegexNode {
    const [min, max] = this.#quantifier()
    if (min === undefined) return atom
    // Lazy or greedy, the same strings match.
    this.#take('?')
    const next = this.#peek()
    if (next === '*' || next === '+' || next === '?') return this.#fail('repeated repetition')
    return { kind: 'repeat', node: atom, min, max }
  }

  #quantifier(): readonly [number | undefined, number | undefined] {
    if (this.#take('*')) return [0, undefined]
    if (this.#take('+')) return [1, undefined]
    if (this.#take('?')) return [0, 1]
    const counted = /^\{(\d{1,5})(,(\d{1,5})?)?\}/.exec(this.#text.slice(this.#at, this.#at + 14))
    if (counted === null) return [undefined, undefined]
    this.#at += counted[0].length
    const min = Number(counted[1])
    const max = counted[2] === undefined ? min : counted[3] === undefined ? undefined : Number(counted[3])
    if (min > MAX_REPEAT || (max !== undefined && (max > MAX_REPEAT || max < min))) this.#fail('bad repetition count')
    return [min, max]
  }

  #atom(): RegexNode {
    const char = this.#peek()
    if (char === '*' || char === '+' || char === '?') return this.#fail('repetition of nothing')
    this.#at += 1
    switch (char) {
      case '(':
        return this.#group()
      case '[':
        return { kind: 'set', set: this.#charClass() }
      case '.':
        return { kind: 'set', set: this.#dotAll ? ANY : ANY_BUT_NEWLINE }
      case '^':
        return { kind: 'start' }
      case '$':
        return { kind: 'end' }
      case '\\':
        if (this.#take('A')) return { kind: 'start' }
        if (this.#take('z')) return { kind: 'end' }
        return { kind: 'set', set: this.#fold(this.#escape()) }
      default: {
        const unit = char.charCodeAt(0)
        return { kind: 'set', set: this.#fold([unit, unit]) }
      }
    }
  }

  #group(): RegexNode {
    this.#depth += 1
    if (this.#depth > MAX_DEPTH) return this.#fail('groups nested too deep')
    const outer = [this.#ignoreCase, this.#dotAll] as const
    if (this.#take('?')) {
      const flags = /^([is]*)(?:-([is]+))?([:)])/.exec(this.#text.slice(this.#at))
      const named = /^P?<[A-Za-z_]\w*>/.exec(this.#text.slice(this.#at))
      if (flags !== null) {
        this.#at += flags[0].length
        this.#setFlags(flags[1] ?? '', true)
        this.#setFlags(flags[2] ?? '', false)
        if (flags[3] === ')') {
          // `(?i)` holds until the end of the group around it.
          this.#depth -= 1
          return EMPTY
        }
      } else if (named !== null) this.#at += named[0].length
      else return this.#fail('lookaround or unknown group (not supported: matching is linear)')
    }
    const node = this.#alternation()
    if (!this.#take(')')) return this.#fail('missing )')
    this.#ignoreCase = outer[0]
    this.#dotAll = outer[1]
    this.#depth -= 1
    return node
  }

  #setFlags(flags: string, on: boolean): void {
    if (flags.includes('i')) this.#ignoreCase = on
    if (flags.includes('s')) this.#dotAll = on
  }

  #charClass(): CharSet {
    const negated = this.#take('^')
    const ranges: number[] = []
    let first = true
    while (first || this.#peek() !== ']') {
      if (this.#at >= this.#text.length) {
        this.#fail('missing ]')
        return []
      }
      first = false
      const low = this.#classItem()
      const from = low[0] ?? 0
      const single = low.length === 2 && low[0] === low[1]
      if (single && this.#peek() === '-' && this.#text.charAt(this.#at + 1) !== ']') {
        this.#at += 1
        const high = this.#classItem()
        const to = high[1] ?? 0
        if (high.length !== 2 || high[0] !== to || to < from) this.#fail('bad range in []')
        ranges.push(from, to)
      } else ranges.push(...low)
    }
    this.#at += 1
    const set = this.#fold(normalise(ranges))
    return negated ? invert(set) : set
  }

  #classItem(): CharSet {
    if (this.#text.startsWith('[:', this.#at)) {
      this.#fail('[:name:] classes (not supported)')
      return []
    }
    if (this.#take('\\')) return this.#escape()
    const unit = this.#text.charCodeAt(this.#at)
    this.#at += 1
    return Number.isNaN(unit) ? [] : [unit, unit]
  }

  /** After the backslash. */
  #escape(): CharSet {
    const char = this.#peek()
    this.#at += 1
    const known = CLASS_ESCAPES.get(char)
    if (known !== undefined) return known
    const control = CONTROL_ESCAPES.get(char)
    if (control !== undefined) return [control, control]
    if (char === 'x' || char === 'u') {
      const hex = /^(?:\{([0-9A-Fa-f]{1,4})\}|([0-9A-Fa-f]{4})|([0-9A-Fa-f]{2}))/.exec(
        char === 'x' && this.#peek() !== '{' ? this.#text.slice(this.#at, this.#at + 2) : this.#text.slice(this.#at),
      )
      if (hex === null || (char === 'u' && hex[3] !== undefined)) {
        this.#fail('bad hexadecimal escape')
        return []
      }
      this.#at += hex[0].length
      const unit = Number.parseInt(hex[1] ?? hex[2] ?? hex[3] ?? '', 16)
      return [unit, unit]
    }
    if (char === '' || /[A-Za-z0-9]/.test(char)) {
      this.#at -= 1
      this.#fail(`escape \\${char} (not supported)`)
      return []
    }
    const unit = char.charCodeAt(0)
    return [unit, unit]
  }

  /** With the flag `i`: adds the other case of ASCII letters. */
  #fold(set: CharSet): CharSet {
    if (!this.#ignoreCase) return set
    const folded = [...set]
    for (let i = 0; i < set.length; i += 2) {
      const low = set[i] ?? 0
      const high = set[i + 1] ?? 0
      for (const [from, shift] of [
        [0x41, 0x20],
        [0x61, -0x20],
      ] as const) {
        const a = Math.max(low, from)
        const b = Math.min(high, from + 25)
        if (a <= b) folded.push(a + shift, b + shift)
      }
    }
    return normalise(folded)
  }
}

function normalise(ranges: readonly number[]): CharSet {
  const pairs: (readonly [number, number])[] = []
  for (let i = 0; i < ranges.length; i += 2) pairs.push([ranges[i] ?? 0, ranges[i + 1] ?? 0])
  pairs.sort((a, b) => a[0] - b[0])
  const merged: number[] = []
  for (const [low, high] of pairs) {
    const last = merged[merged.length - 1]
    if (last !== undefined && low <= last + 1) merged[merged.length - 1] = Math.max(last, high)
    else merged.push(low, high)
  }
  return merged
}

function invert(set: CharSet): CharSet {
  const out: number[] = []
  let from = 0
  for (let i = 0; i < set.length; i += 2) {
    const low = set[i] ?? 0
    if (low > from) out.push(from, low - 1)
    from = (set[i + 1] ?? 0) + 1
  }
  if (from <= MAX_UNIT) out.push(from, MAX_UNIT)
  return out
}
