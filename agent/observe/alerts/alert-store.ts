/**
 * What fires and who was told, across restarts of the agent: STATE_DIR/alerts.json, replaced as a whole. Without it, or with
 * one that cannot be read, alerts begin anew.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { errorLine } from '#base'
import { type Alert, alertKey, type OutboxGroup, type ToldAlert } from '#observer/alerts'
import { type Issue, list, map, object, oneOf, optional, type Schema, string } from '#schema'

export interface StoredAlerts {
  /** Stands for who was told. */
  readonly to: string
  readonly alerts: ReadonlyMap<string, Alert>
  readonly groups: readonly OutboxGroup[]
}

const number: Schema<number> = {
  read(value, field, issues) {
    if (typeof value === 'number' && Number.isFinite(value)) return value
    issues.push({ field, message: 'expected a number' })
    return Number.NaN
  },
}
const texts = map(string())
const told = object('lenient', {
  status: oneOf('firing', 'resolved'),
  labels: texts,
  annotations: texts,
  startsAtMs: number,
  endsAtMs: optional(number),
})
const stored = object('lenient', {
  version: oneOf(1),
  to: string(),
  alerts: list(
    object('lenient', {
      rule: string(),
      subject: string(),
      phase: oneOf('pending', 'firing'),
      sinceMs: number,
      clearSinceMs: optional(number),
      labels: texts,
      value: optional(number),
      summary: string(),
      next: string(),
    }),
  ),
  groups: list(object('lenient', { name: string(), told: map(told), ended: map(told), deliveredMs: number })),
})

const NOTHING: StoredAlerts = { to: '', alerts: new Map(), groups: [] }

/** Only what fires: how long something was pending while nobody looked, nobody knows. @param nowMs ms since the epoch */
export async function loadAlerts(path: string, nowMs: number): Promise<StoredAlerts> {
  let value: unknown
  try {
    value = JSON.parse(await readFile(path, 'utf8'))
  } catch {
    return NOTHING
  }
  const issues: Issue[] = []
  const read = stored.read(value, '', issues)
  if (typeof read === 'symbol' || issues.length > 0) return NOTHING
  const firing = read.alerts.filter(({ phase }) => phase === 'firing')
  const asTold = (all: (typeof read.groups)[number]['told']): Record<string, ToldAlert> =>
    Object.fromEntries(Object.entries(all).map(([key, one]) => [key, { ...one, endsAtMs: one.endsAtMs }]))
  return {
    to: read.to,
    alerts: new Map(firing.map((alert) => [alertKey(alert), { ...alert, knownMs: nowMs }])),
    groups: read.groups.map(({ name, told: all, ended, deliveredMs }) => ({
      name,
      told: asTold(all),
      ended: asTold(ended),
      deliveredMs,
    })),
  }
}

/** One write at a time; of those that come meanwhile, the last. */
export class AlertStore {
  readonly #path: string
  readonly #onProblem: (line: string) => void
  #wanted: string | undefined
  #written = ''
  #writing: Promise<void> | undefined

  constructor(path: string, onProblem: (line: string) => void) {
    this.#path = path
    this.#onProblem = onProblem
  }

  /** Resolves when it is on disk, or could not be written, which is told. */
  save({ to, alerts, groups }: StoredAlerts): Promise<void> {
    const durable = [...alerts.values()]
      .filter(({ phase }) => phase === 'firing')
      // Known anew after a start.
      .map((alert) => ({ ...alert, knownMs: 0, value: undefined }))
    this.#wanted = JSON.stringify({ version: 1, to, alerts: durable, groups })
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
    return this.#writing
  }

  async #write(): Promise<void> {
    for (let text = this.#wanted; text !== undefined && text !== this.#written; text = this.#wanted) {
      try {
        await writeFile(`${this.#path}.new`, text, { mode: 0o600 })
        await rename(`${this.#path}.new`, this.#path)
      } catch (thrown) {
        this.#onProblem(`${this.#path} cannot be written: ${errorLine(thrown)}`)
        return
      }
      this.#written = text
    }
  }
}
