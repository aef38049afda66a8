/** A verb of `weir`: what it takes, what it asks, what it prints. */
import type { ParseArgsOptionsConfig } from 'node:util'
import type { Values } from './arguments.ts'
import type { Ask } from './ask.ts'

export interface Verb {
  readonly name: string
  /** One line, for the list of verbs. */
  readonly summary: string
  /** What follows `weir NAME` in the usage line; empty for nothing. */
  readonly usage: string
  /** Its own flags; `--json`, `--state-dir` and `--help` are every verb's. */
  readonly options: ParseArgsOptionsConfig
  /** One line per own flag. */
  readonly optionHelp: readonly string[]
  run(call: VerbCall): Promise<VerbResult>
}

export interface VerbCall {
  readonly values: Values
  readonly json: boolean
  readonly ask: Ask
  /** Milliseconds since the epoch. */
  readonly nowMs: number
}

/** `error`: one line for stderr. */
export interface VerbResult {
  readonly exitCode: number
  readonly output: string
  readonly error?: string
}
