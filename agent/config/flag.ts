/** A flag of the agent: what it takes, what it is when it is not given, and what --help says of it; all of it in one place. */
import { resolve } from 'node:path'
import type { Given } from './given.ts'

export interface Flag {
  /** As --help shows it, such as `DIR`; absent: a switch, which takes none. */
  readonly value?: string
  /** For --help, without the default. */
  readonly says: string
  /** Absent: it is empty when it is not given. */
  readonly default?: string
  /** The default in words, where it is not the same everywhere; empty: not told. */
  readonly defaultSays?: string
  /** It must be given, such as so. */
  readonly required?: string
  /** What is wrong with a value; undefined when nothing is. */
  readonly wrong?: (value: string) => string | undefined
}

export type Flags = Readonly<Record<string, Flag>>

/** Flags about one thing, and what they make of it. */
export interface Subject<Settings> {
  readonly flags: Flags
  /** What is wrong with them together, one line each. */
  wrong?(given: Given): readonly string[]
  /** Asked only when nothing is wrong. */
  read(given: Given): Settings
}

export const anyText = (value: string) => (value === '' ? 'must not be empty' : undefined)

export const matching = (pattern: RegExp, expected: string) => (value: string) =>
  pattern.test(value) ? undefined : `expected ${expected}, got ${JSON.stringify(value)}`

export const between = (least: number, most: number) => (value: string) =>
  /^\d{1,9}$/.test(value) && Number(value) >= least && Number(value) <= most
    ? undefined
    : `expected a number from ${least} to ${most}, got ${JSON.stringify(value)}`

/** @param expected such as `from 5s to 720h such as 24h` */
export const duration = (leastMs: number, mostMs: number, expected: string) => (value: string) => {
  const ms = durationMs(value)
  return ms !== undefined && ms >= leastMs && ms <= mostMs
    ? undefined
    : `expected a duration ${expected}, got ${JSON.stringify(value)}`
}

export const ON_OR_OFF = matching(/^(on|off)$/, 'on or off')

/** @param path of the API, such as `/v1/logs` */
export const collectorUrl = (path: string) =>
  matching(/^https?:\/\/[^\s/]+\/\S*$/, `a URL with its path such as http://collector:4318${path}`)

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** `250ms`, `90s`, `30m`, `24h`. */
export function durationMs(text: string): number | undefined {
  const [, count = '', unit = ''] = /^(\d{1,7})(ms|[smh])$/.exec(text) ?? []
  const unitMs = UNIT_MS[unit]
  return unitMs === undefined ? undefined : Number(count) * unitMs
}

/** Absolute; undefined where none is given. */
export function pathOf(given: Given, name: string): string | undefined {
  const path = given.text(name)
  return path === '' ? undefined : resolve(path)
}
