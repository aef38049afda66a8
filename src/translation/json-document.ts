/**
 * JSON texts (RFC 8259) as trees that lose nothing: numbers and strings stay the text that they came as, members their
 * order. Object.prototype is never reached: members are lists, not properties. Names that come twice in an object, depth
 * and number of values beyond the bounds are refused, for two readers would not agree on such a text.
 */
import { TRANSLATION_BOUNDS } from '#contract'

/** A number, string or literal is its own source text. */
export type JsonNode = string | JsonArray | JsonObject

export class JsonArray {
  readonly items: JsonNode[] = []
}

export class JsonObject {
  /** Unescaped. */
  readonly names: string[] = []
  /** As written, with quotes. */
  readonly sources: string[] = []
  readonly values: JsonNode[] = []

  indexOf(name: string): number {
    return this.names.indexOf(name)
  }

  add(name: string, value: JsonNode): void {
    this.names.push(name)
    this.sources.push(JSON.stringify(name))
    this.values.push(value)
  }

  removeAt(index: number): void {
    this.names.splice(index, 1)
    this.sources.splice(index, 1)
    this.values.splice(index, 1)
  }
}

export type Parsed = { readonly ok: true; readonly root: JsonNode } | { readonly ok: false; readonly problem: string }

/** Objects with more members than that are looked through for doubles with a set. */
const FEW_MEMBERS = 16

export function parseJson(text: string): Parsed {
  const parser = new Parser(text)
  const root = parser.document()
  return root === undefined ? { ok: false, problem: parser.problem } : { ok: true, root }
}

class Parser {
  problem = ''
  readonly #text: string
  #at = 0
  #values = 0

  constructor(text: string) {
    this.#text = text
  }

  document(): JsonNode | undefined {
    const root = this.#value(0)
    if (root === undefined) return undefined
    this.#space()
    return this.#at === this.#text.length ? root : this.#bad('text behind the value')
  }

  #bad(what: string): undefined {
    if (this.problem === '') this.problem = `${what} at character ${this.#at}`
    return undefined
  }

  /** Skips whitespace; the character behind it, NaN at the end. */
  #space(): number {
    const text = this.#text
    let at = this.#at
    let code = text.charCodeAt(at)
    while (code === 32 || code === 10 || code === 13 || code === 9) code = text.charCodeAt(++at)
    this.#at = at
    return code
  }

  #value(depth: number): JsonNode | undefined {
    if (++this.#values > TRANSLATION_BOUNDS.values) return this.#bad(`more than ${TRANSLATION_BOUNDS.values} values`)
    const code = this.#space()
    if (code === 34) return this.#string()
    if (code === 123 || code === 91) {
      if (depth === TRANSLATION_BOUNDS.depth) return this.#bad(`nested deeper than ${TRANSLATION_BOUNDS.depth}`)
      this.#at++
      return code === 123 ? this.#object(depth + 1) : this.#array(depth + 1)
    }
    if (code === 45 || (code >= 48 && code <= 57)) return this.#number()
    for (const word of ['true', 'false', 'null']) {
      if (!this.#text.startsWith(word, this.#at)) continue
      this.#at += word.length
      return word
    }
    return this.#bad(Number.isNaN(code) ? 'the end instead of a value' : 'no value')
  }

  #object(depth: number): JsonObject | undefined {
    const object = new JsonObject()
    let seen: Set<string> | undefined
    if (this.#space() === 125) {
      this.#at++
      return object
    }
    for (;;) {
      if (this.#space() !== 34) return this.#bad('no name of a member')
      const source = this.#string()
      if (source === undefined) return undefined
      // The source is a valid JSON string: parsing it gives one.
      const name = source.includes('\\') ? (JSON.parse(source) as string) : source.slice(1, -1)
      if (object.names.length === FEW_MEMBERS) seen = new Set(object.names)
      if (seen === undefined ? object.names.includes(name) : seen.has(name))
        return this.#bad('a name comes twice in an object')
      seen?.add(name)
      if (this.#space() !== 58) return this.#bad('no colon behind a name')
      this.#at++
      const value = this.#value(depth)
      if (value === undefined) return undefined
      object.names.push(name)
      object.sources.push(source)
      object.values.push(value)
      const next = this.#space()
      if (next !== 44 && next !== 125) return this.#bad('neither comma nor brace behind a member')
      this.#at++
      if (next === 125) return object
    }
  }

  #array(depth: number): JsonArray | undefined {
    const array = new JsonArray()
    if (this.#space() === 93) {
      this.#at++
      return array
    }
    for (;;) {
      const value = this.#value(depth)
      if (value === undefined) return undefined
      array.items.push(value)
      const next = this.#space()
      if (next !== 44 && next !== 93) return this.#bad('neither comma nor bracket behind an element')
      this.#at++
      if (next === 93) return array
    }
  }

  #string(): string | undefined {
    const text = this.#text
    const start = this.#at
    let at = start + 1
    for (;;) {
      const code = text.charCodeAt(at)
      if (code === 34) {
        this.#at = at + 1
        return text.slice(start, at + 1)
      }
      if (code === 92) {
        const length = escapeLength(text, at)
        if (length === 0) {
          this.#at = at
          return this.#bad('no such escape')
        }
        at += length
      } else if (code >= 32) at++
      else {
        this.#at = at
        return this.#bad(Number.isNaN(code) ? 'the end in a string' : 'a control character in a string')
      }
    }
  }

  #number(): string | undefined {
    NUMBER.lastIndex = this.#at
    const found = NUMBER.exec(this.#text)?.[0]
    if (found === undefined) return this.#bad('no number')
    this.#at += found.length
    return found
  }
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y

/** Behind a backslash, `u` aside (RFC 8259 section 7). */
const ESCAPED: ReadonlySet<number> = new Set(Array.from('"\\/bfnrt', (character) => character.charCodeAt(0)))

/** Of the escape that begins at the backslash; 0 when it is none. */
function escapeLength(text: string, at: number): number {
  const code = text.charCodeAt(at + 1)
  if (code !== 117) return ESCAPED.has(code) ? 2 : 0
  for (let i = at + 2; i < at + 6; i++) {
    const digit = text.charCodeAt(i)
    const isHex = (digit >= 48 && digit <= 57) || (digit >= 65 && digit <= 70) || (digit >= 97 && digit <= 102)
    if (!isHex) return 0
  }
  return 6
}

/** Without whitespace; undefined when it would be longer than `maxCharacters`. */
export function renderJson(root: JsonNode, maxCharacters: number): string | undefined {
  const renderer = new Renderer(maxCharacters)
  renderer.node(root)
  return renderer.left < 0 ? undefined : renderer.out
}

class Renderer {
  out = ''
  left: number

  constructor(maxCharacters: number) {
    this.left = maxCharacters
  }

  node(node: JsonNode): void {
    if (this.left < 0) return
    if (typeof node === 'string') this.#put(node)
    else if (node instanceof JsonArray) {
      this.#put('[')
      for (let i = 0; i < node.items.length && this.left >= 0; i++) {
        if (i > 0) this.#put(',')
        this.node(node.items[i] as JsonNode)
      }
      this.#put(']')
    } else {
      this.#put('{')
      for (let i = 0; i < node.values.length && this.left >= 0; i++) {
        if (i > 0) this.#put(',')
        this.#put(node.sources[i] as string)
        this.#put(':')
        this.node(node.values[i] as JsonNode)
      }
      this.#put('}')
    }
  }

  #put(text: string): void {
    this.left -= text.length
    if (this.left >= 0) this.out += text
  }
}
