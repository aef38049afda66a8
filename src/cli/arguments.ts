/** Flags of a verb, read by `parseArgs`, with errors that help: one line, and the nearest flag that exists. */
import type { ParseArgsOptionsConfig } from 'node:util'
import { parseArgs } from 'node:util'
import { nearest } from './nearest.ts'

export type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>

export type Arguments =
  | { readonly kind: 'values'; readonly values: Values; readonly words: readonly string[] }
  | { readonly kind: 'usage'; readonly line: string }

/** @param maxWords words that belong to no flag; one more is an error */
export function readArguments(
  verb: string,
  argv: readonly string[],
  options: ParseArgsOptionsConfig,
  maxWords = 0,
): Arguments {
  const words: string[] = []
  const { values, tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  for (const token of tokens) {
    if (token.kind === 'positional' && words.length === maxWords) {
      return usage(verb, `takes no ${maxWords === 0 ? '' : 'further '}argument ${JSON.stringify(token.value)}`)
    }
    if (token.kind === 'positional') words.push(token.value)
    if (token.kind !== 'option') continue
    const option = options[token.name]
    if (option === undefined) {
      const near = nearest(token.name, Object.keys(options))
      const hint = near === undefined ? '' : `; did you mean --${near}?`
      return usage(verb, `has no flag ${token.rawName}${hint}`)
    }
    if (option.type === 'boolean' && token.value !== undefined)
      return usage(verb, `flag --${token.name} takes no value`)
    if (option.type === 'string' && lacksValue(token)) return usage(verb, `flag --${token.name} needs a value`)
  }
  return { kind: 'values', values, words }
}

/** The value of a flag that takes one; undefined when it is not given. */
export function textValue(values: Values, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

export function textValues(values: Values, name: string): readonly string[] {
  const value = values[name]
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

function lacksValue(token: { readonly value: string | undefined; readonly inlineValue: boolean | undefined }): boolean {
  return token.value === undefined || token.value === '' || (token.inlineValue !== true && token.value.startsWith('--'))
}

function usage(verb: string, what: string): Arguments {
  return { kind: 'usage', line: `weir ${verb} ${what} (see weir ${verb} --help)` }
}
