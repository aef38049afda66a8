/** Places in a JSON document: JSON Pointer (RFC 6901), with `*` for each element of an array. */
import { type JsonPath, TRANSLATION_BOUNDS } from '#contract'
import { FAILED, type Issue, type Schema } from '#schema'

/** The tokens; a text when it is no pointer. */
export function parseJsonPointer(text: string): JsonPath | string {
  const got = `got ${JSON.stringify(text)}`
  if (text === '') return 'is empty: it would be the whole document, which no rule changes'
  if (!text.startsWith('/')) return `a JSON Pointer begins with /, ${got}`
  const tokens = text.slice(1).split('/')
  if (tokens.length > TRANSLATION_BOUNDS.pathTokens)
    return `has ${tokens.length} parts, at most ${TRANSLATION_BOUNDS.pathTokens} are allowed`
  const path: (string | null)[] = []
  for (const token of tokens) {
    if (/~(?![01])/.test(token)) return `~ is written ~0 in a JSON Pointer (and / as ~1), ${got}`
    if (token === '-') return `- is the element behind the last one, which does not exist, ${got}`
    path.push(token === '*' ? null : token.replaceAll('~1', '/').replaceAll('~0', '~'))
  }
  return path
}

export const jsonPointer: Schema<JsonPath> = {
  read(value: unknown, field: string, issues: Issue[]) {
    const path = typeof value === 'string' ? parseJsonPointer(value) : 'expected a JSON Pointer such as /items/*/name'
    if (typeof path !== 'string') return path
    issues.push({ field, message: path })
    return FAILED
  },
}

const MAX_VALUE_DEPTH = 16

/** Any value of YAML that JSON has, as JSON text. */
export const jsonValue: Schema<string> = {
  read(value: unknown, field: string, issues: Issue[]) {
    const wrong = checkJson(value, 0)
    const text = wrong === undefined ? JSON.stringify(value) : ''
    const { valueCharacters } = TRANSLATION_BOUNDS
    const message =
      wrong ?? (text.length > valueCharacters ? `is longer than ${valueCharacters} characters as JSON` : undefined)
    if (message === undefined) return text
    issues.push({ field, message })
    return FAILED
  },
}

/** @param depth objects and lists around it */
function checkJson(value: unknown, depth: number): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'number':
      if (Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))) return undefined
      return `holds the number ${value}, which cannot be written exactly: give a string, or a smaller number`
    case 'object': {
      if (depth === MAX_VALUE_DEPTH) return `is nested deeper than ${MAX_VALUE_DEPTH}`
      for (const item of value === null ? [] : Object.values(value)) {
        const wrong = checkJson(item, depth + 1)
        if (wrong !== undefined) return wrong
      }
      return undefined
    }
    default:
      return 'holds something that JSON does not have'
  }
}
