/** Questions whose answer is JSON, and what a verb returns when the agent gives none. */
import type { Ask, Asked } from './ask.ts'
import { EXIT_UNREACHABLE, EXIT_WRONG } from './exit-code.ts'
import type { VerbResult } from './verb.ts'

export type JsonAsked<T> = { readonly kind: 'value'; readonly value: T } | JsonFailed

export interface JsonFailed {
  readonly kind: 'failed'
  readonly result: VerbResult
  /** Of the answer; undefined when there was none, or none that is JSON. */
  readonly status?: number
}

/** The agent and this command are of one version: the answer is taken to have the shape asked for. */
export async function askJson<T>(ask: Ask, path: string): Promise<JsonAsked<T>> {
  const asked = await ask(path)
  if (asked.kind === 'unreachable') return { kind: 'failed', result: failed(path, asked) }
  if (asked.status !== 200) return { kind: 'failed', result: failed(path, asked), status: asked.status }
  try {
    return { kind: 'value', value: JSON.parse(asked.text) as T }
  } catch {
    return { kind: 'failed', result: wrong(`The agent's answer to ${path} is not JSON`) }
  }
}

export function failed(path: string, asked: Asked): VerbResult {
  if (asked.kind === 'unreachable') return { exitCode: EXIT_UNREACHABLE, output: '', error: asked.line }
  return wrong(errorIn(asked.text) ?? `The agent answered ${asked.status} to ${path}`)
}

/** What a stream was refused for. Its parameters are named as the flags that they came from. */
export function refused(verb: string, status: number, text: string): VerbResult {
  const result = failed(`/${verb}`, { kind: 'answer', status, text })
  const flag = /^Parameter ([a-z-]+): (.*)$/s.exec(result.error ?? '')
  if (status !== 400 || flag === null) return result
  return { ...result, error: `--${flag[1]}: ${flag[2]} (see weir ${verb} --help)` }
}

export function jsonOutput(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}

function wrong(error: string): VerbResult {
  return { exitCode: EXIT_WRONG, output: '', error }
}

function errorIn(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && 'error' in value) return String(value.error)
  } catch {
    // Not JSON: the status says enough.
  }
  return undefined
}
