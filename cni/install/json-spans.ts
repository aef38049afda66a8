/** Where the elements of a top-level array lie in a JSON text, so that one can be added or cut without touching the rest. */

export interface Span {
  /** Offset of its first character. */
  readonly start: number
  /** Offset after its last. */
  readonly end: number
}

export interface ArraySpans {
  /** Offset after `[`. */
  readonly open: number
  readonly elements: readonly Span[]
}

/** @param text a JSON object that JSON.parse accepts; undefined when it has no such key, or no array there */
export function findArray(text: string, key: string): ArraySpans | undefined {
  let found: ArraySpans | undefined
  let at = skipBlank(text, text.indexOf('{') + 1)
  while (text[at] === '"') {
    const nameEnd = skipValue(text, at)
    const name: unknown = JSON.parse(text.slice(at, nameEnd))
    const start = skipBlank(text, skipBlank(text, nameEnd) + 1)
    const end = skipValue(text, start)
    // The last of repeated keys counts, as in JSON.parse.
    if (name === key) found = text[start] === '[' ? readElements(text, start) : undefined
    at = skipBlank(text, end)
    if (text[at] === ',') at = skipBlank(text, at + 1)
  }
  return found
}

function readElements(text: string, start: number): ArraySpans {
  const elements: Span[] = []
  let at = skipBlank(text, start + 1)
  while (text[at] !== ']') {
    const end = skipValue(text, at)
    elements.push({ start: at, end })
    at = skipBlank(text, end)
    if (text[at] === ',') at = skipBlank(text, at + 1)
  }
  return { open: start + 1, elements }
}

function skipBlank(text: string, from: number): number {
  let at = from
  while (at < text.length && ' \t\r\n'.includes(text[at] ?? '')) at += 1
  return at
}

function skipValue(text: string, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const char = text[at] ?? ''
    if (char === '"') {
      at = endOfText(text, at)
      if (depth === 0) return at + 1
    } else if (char === '{' || char === '[') depth += 1
    else if (char === '}' || char === ']') {
      if (depth === 0) return at
      depth -= 1
      if (depth === 0) return at + 1
    } else if (depth === 0 && (char === ',' || ' \t\r\n'.includes(char))) return at
  }
  return text.length
}

function endOfText(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at
}
