/**
 * What is still to be told, and what has been told: one group for each rule, as Alertmanager groups by `alertname`. A message
 * holds all of its group that fires, and what ended since the last one that arrived. Pure: the time is given.
 */
import { fingerprintOf, type ToldAlert } from './alertmanager-message.ts'

export interface OutboxGroup {
  readonly name: string
  /** What the receiver takes for firing, by fingerprint. */
  readonly told: Readonly<Record<string, ToldAlert>>
  /** Ended, and not told yet, by fingerprint. */
  readonly ended: Readonly<Record<string, ToldAlert>>
  /** When a message last arrived, ms since the epoch; 0: never. */
  readonly deliveredMs: number
}

export interface OutboxMessage {
  readonly group: string
  /** At least one. */
  readonly alerts: readonly ToldAlert[]
}

/** Of one group: of more, what was never told as firing goes first. */
const MAX_ENDED = 200

export class AlertOutbox {
  readonly #groups = new Map<string, OutboxGroup>()
  readonly #firing = new Map<string, Map<string, ToldAlert>>()
  #dropped = 0

  /** @param groups what an agent before this one left */
  constructor(groups: readonly OutboxGroup[] = []) {
    for (const group of groups) this.#groups.set(group.name, group)
  }

  /** Ended alerts that were never told at all, because too many waited. */
  get dropped(): number {
    return this.#dropped
  }

  /** For the agent that comes after. */
  get groups(): readonly OutboxGroup[] {
    return [...this.#groups.values()]
  }

  /**
   * The state after a look: all that fires now, and what has just ended. What the receiver takes for firing and is neither
   * has ended, too: its rule was changed, or it was forgotten.
   */
  update(firing: readonly ToldAlert[], ended: readonly ToldAlert[], nowMs: number): void {
    this.#firing.clear()
    for (const alert of firing) {
      const all = this.#firing.get(nameOf(alert)) ?? new Map<string, ToldAlert>()
      this.#firing.set(nameOf(alert), all.set(fingerprintOf(alert.labels), alert))
    }
    for (const alert of ended) this.#end(alert)
    for (const group of [...this.#groups.values()]) {
      for (const [key, alert] of Object.entries(group.told)) {
        if (this.#fires(group.name, key) || Object.hasOwn(this.#groups.get(group.name)?.ended ?? {}, key)) continue
        this.#end({ ...alert, status: 'resolved', endsAtMs: nowMs })
      }
      // What fires again: that is the latest word.
      const now = this.#groups.get(group.name) ?? group
      const over = Object.entries(now.ended).filter(([key]) => !this.#fires(now.name, key))
      this.#groups.set(now.name, { ...now, ended: Object.fromEntries(over) })
    }
  }

  /** Another receiver: it has been told nothing yet. */
  forgetTold(): void {
    for (const [name, group] of this.#groups) this.#groups.set(name, { ...group, told: {}, deliveredMs: 0 })
  }

  /** Groups that have something to tell now, those first that waited longest. */
  due(nowMs: number, repeatEveryMs: number): readonly OutboxMessage[] {
    const names = new Set([...this.#groups.keys(), ...this.#firing.keys()])
    return [...names]
      .map((name) => this.#groups.get(name) ?? newGroup(name))
      .sort((a, b) => a.deliveredMs - b.deliveredMs)
      .flatMap((group) => {
        const firing = this.#firing.get(group.name) ?? new Map<string, ToldAlert>()
        const isNew = [...firing].some(([key, { startsAtMs }]) => group.told[key]?.startsAtMs !== startsAtMs)
        const isOver = Object.keys(group.ended).length > 0
        // A clock that was set back must not silence it.
        const isLate = firing.size > 0 && Math.abs(nowMs - group.deliveredMs) >= repeatEveryMs
        if (!isNew && !isOver && !isLate) return []
        return [{ group: group.name, alerts: [...firing.values(), ...Object.values(group.ended)] }]
      })
  }

  /** The receiver has taken it. */
  delivered({ group: name, alerts }: OutboxMessage, nowMs: number): void {
    const group = this.#groups.get(name) ?? newGroup(name)
    const told: Record<string, ToldAlert> = {}
    const ended: Record<string, ToldAlert> = { ...group.ended }
    for (const alert of alerts) {
      const key = fingerprintOf(alert.labels)
      if (alert.status === 'firing') told[key] = alert
      else if (ended[key]?.endsAtMs === alert.endsAtMs) delete ended[key]
    }
    const isOver = Object.keys(told).length === 0 && Object.keys(ended).length === 0
    if (isOver) this.#groups.delete(name)
    else this.#groups.set(name, { name, told, ended, deliveredMs: nowMs })
  }

  #fires(name: string, key: string): boolean {
    return this.#firing.get(name)?.has(key) === true
  }

  #end(alert: ToldAlert): void {
    const name = nameOf(alert)
    const group = this.#groups.get(name) ?? newGroup(name)
    const ended = Object.entries({ ...group.ended, [fingerprintOf(alert.labels)]: alert })
    const victim =
      ended.length <= MAX_ENDED ? undefined : (ended.find(([key]) => !Object.hasOwn(group.told, key)) ?? ended[0])
    if (victim !== undefined) this.#dropped++
    this.#groups.set(name, { ...group, ended: Object.fromEntries(ended.filter((one) => one !== victim)) })
  }
}

function nameOf({ labels }: ToldAlert): string {
  return labels['alertname'] ?? ''
}

function newGroup(name: string): OutboxGroup {
  return { name, told: {}, ended: {}, deliveredMs: 0 }
}
