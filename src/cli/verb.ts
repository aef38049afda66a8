/** A verb of `weir`: what it takes, what it asks, what it prints. */
import type { ParseArgsOptionsConfig } from 'node:util'
import type { CheckLine } from '#contract'
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
  /** What follows `weir ` in a command that one may want, with what it is for. */
  readonly examples?: readonly string[]
  /** What the exit codes 0 and 1 mean, where that needs saying. */
  readonly exitHelp?: string
  run(call: VerbCall): Promise<VerbResult>
}

export interface VerbCall {
  readonly values: Values
  readonly json: boolean
  readonly ask: Ask
  /** Looks at this machine and a cluster without asking an agent. */
  preflight(call: Omit<PreflightCall, 'stateDir' | 'version'>): Promise<readonly CheckLine[]>
  /** Milliseconds since the epoch. */
  readonly nowMs: number
}

/** Undefined paths: the usual ones; without a kubeconfig no cluster is looked at. */
export interface PreflightCall {
  readonly stateDir: string
  /** Of this command. */
  readonly version: string
  readonly kubeconfig: string | undefined
  readonly cniConfDir: string | undefined
  readonly cniBinDir: string | undefined
}

/** `error`: one line for stderr. */
export interface VerbResult {
  readonly exitCode: number
  readonly output: string
  readonly error?: string
}
