/** The words of an alert's expression: text → tokens with their columns, or what cannot be read and where. */

export type Token =
  | { readonly kind: 'number'; readonly value: number; readonly column: number; readonly text: string }
  | { readonly kind: 'name' | 'text' | 'sign' | 'end'; readonly text: string; readonly column: number }

export interface ExpressionError {
  /** From 1. */
  readonly column: number
  readonly message: string
}

/** Times are milliseconds, shares are 0 to 1. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['%', 0.01],
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['k', 1_000],
  ['Ki', 1024],
  ['Mi', 1024 ** 2],
  ['Gi', 1024 ** 3],
])

const SPACE = /[ \t\r\n]+/y
const NUMBER = /(\d+(?:\.\d+)?)([a-zA-Z%]*)/y
const NAME = /[a-zA-Z_][a-zA-Z0-9_:]*/y
const TEXT = /"([^"\\\n]*)"/y
const SIGN = /<=|>=|==|!=|[-+*/<>(){},=]/y
/** As other languages have it. */
const FOREIGN: Readonly<Record<string, string>> = { '&': 'and', '|': 'or', '!': 'not', "'": 'double quotes' }

/** The last token is `end`. */
export function readTokens(source: string): readonly Token[] | ExpressionError {
  const tokens: Token[] = []
  let at = 0
  const next = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const found = pattern.exec(source)
    if (found !== null) at += found[0].length
    return found
  }
  for (;;) {
    next(SPACE)
    const column = at + 1
    if (at === source.length) return [...tokens, { kind: 'end', text: '', column }]
    const number = next(NUMBER)
    if (number !== null) {
      const [text, digits = '', unit = ''] = number
      const factor = UNITS.get(unit)
      if (factor === undefined) {
        return {
          column,
          message: `${JSON.stringify(text)} has no unit that is known; there are %, ms, s, m, h, k, Ki, Mi, Gi`,
        }
      }
      const value = Number(digits) * factor
      if (!Number.isFinite(value)) return { column, message: 'is too large a number' }
      tokens.push({ kind: 'number', value, column, text })
      continue
    }
    const name = next(NAME)
    const text = name === null ? next(TEXT) : null
    const sign = name === null && text === null ? next(SIGN) : null
    if (name !== null) tokens.push({ kind: 'name', text: name[0], column })
    else if (text !== null) tokens.push({ kind: 'text', text: text[1] ?? '', column })
    else if (sign !== null) tokens.push({ kind: 'sign', text: sign[0], column })
    else return { column, message: strange(source.slice(at)) }
  }
}

function strange(rest: string): string {
  const first = String.fromCodePoint(rest.codePointAt(0) ?? 0)
  if (first === '"') return 'a text without its closing quote'
  const instead = FOREIGN[first]
  return `${JSON.stringify(first)} means nothing here${instead === undefined ? '' : `; write ${instead}`}`
}
