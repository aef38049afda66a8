/** Flags that verbs about traffic share, and the two looks that make a window. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { TrafficAnswer } from '#contract'
import { type Traffic, trafficBetween } from '#observer'
import { textValue, type Values } from './arguments.ts'
import type { Ask } from './ask.ts'
import { askJson, type JsonFailed } from './ask-json.ts'
import { EXIT_USAGE } from './exit-code.ts'
import type { VerbResult } from './verb.ts'

const DEFAULT_SECONDS = 5
const MAX_SECONDS = 600

export const WINDOW_HELP = `--window SECONDS       how long to look, 1 to ${MAX_SECONDS}; default ${DEFAULT_SECONDS}`

/** Seconds, or what is wrong with them. */
export function readWindow(verb: string, values: Values): number | VerbResult {
  const text = textValue(values, 'window')
  const seconds = text === undefined ? DEFAULT_SECONDS : Number(text)
  if (seconds >= 1 && seconds <= MAX_SECONDS) return seconds
  const error = `weir ${verb} --window: expected seconds from 1 to ${MAX_SECONDS}, got ${JSON.stringify(text)}`
  return { exitCode: EXIT_USAGE, output: '', error }
}

export type Looked = { readonly kind: 'traffic'; readonly traffic: Traffic } | JsonFailed

/** What goes on during the next `seconds`. */
export async function lookFor(ask: Ask, seconds: number): Promise<Looked> {
  const before = await askTraffic(ask)
  if (before.kind === 'failed') return before
  await sleep(seconds * 1000)
  const after = await askTraffic(ask)
  if (after.kind === 'failed') return after
  return { kind: 'traffic', traffic: trafficBetween(before.value, after.value) }
}

export function askTraffic(ask: Ask) {
  return askJson<TrafficAnswer>(ask, '/traffic')
}
