/** A verb of `weir`: what it takes, what it asks, what it prints. */
import type { ParseArgsOptionsConfig } from 'node:util'
import type { CheckLine } from '#contract'
import type { Values } from './arguments.ts'
import type { Ask } from './ask.ts'
import type { Listen } from './listen.ts'

export interface Verb {
  readonly name: string
  /** One line, for the list of verbs. */
  readonly summary: string
  /** A sentence, where the verb does more than show what the summary says. */
  readonly does?: string
  /** What follows `weir NAME` in the usage line; empty for nothing. */
  readonly usage: string
  /** Its own flags; `--json`, `--state-dir` and `--help` are every verb's. */
  readonly options: ParseArgsOptionsConfig
  /** One line per own flag. */
  readonly optionHelp: readonly string[]
  /** What follows `weir ` in a command that one may want, with what it is for. */
  readonly examples?: readonly string[]
  /** Words that it takes besides its flags; none when absent. */
  readonly maxWords?: number
  /** What the exit codes 0 and 1 mean, where that needs saying. */
  readonly exitHelp?: string
  run(call: VerbCall): Promise<VerbResult>
}

export interface VerbCall {
  readonly values: Values
  readonly words: readonly string[]
  readonly json: boolean
  readonly ask: Ask
  readonly listen: Listen
  /** For what comes bit by bit. Resolves when more may be written; false: nobody reads any more. */
  print(text: string): Promise<boolean>
  /** Colours and the like are for terminals. */
  readonly isTerminal: boolean
  /** Looks at this machine and a cluster without asking an agent. */
  preflight(call: Omit<PreflightCall, 'stateDir' | 'version'>): Promise<readonly CheckLine[]>
  /** Sets annotations of a pod through the API server; undefined when it is done, else one line that says why not. */
  annotatePod(call: AnnotatePodCall): Promise<string | undefined>
  /** Milliseconds since the epoch. */
  readonly nowMs: number
}

export interface AnnotatePodCall {
  readonly namespace: string
  readonly name: string
  /** `null` removes one. */
  readonly annotations: Readonly<Record<string, string | null>>
  /** Undefined: as the pod that the command runs in. */
  readonly kubeconfig: string | undefined
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
