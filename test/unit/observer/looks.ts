/** Looks as tests write them: what is not said is well. */

import type { Finding } from '#contract'
import { diagnose, type EdgeSample, LookHistory, type NodeLook, type PodSample, type WorldSample } from '#observer'

export const START = Date.parse('2026-11-21T12:00:00Z')
export const LOOK_MS = 10_000

export const WORLD: WorldSample = {
  version: 1,
  emptyServices: [],
  podOf: (workload) => `${workload}-1`,
  servicesOf: () => ['shop/reviews'],
  urlOf: (service) =>
    service === '' ? undefined : `http://${service.replace(/:\d+$/, '').split('/').toReversed().join('.')}:80`,
}

const QUIET: Omit<NodeLook, 'atMs' | 'seconds'> = {
  edges: [],
  proxies: [
    {
      id: 0,
      isUp: true,
      missedPings: 0,
      restarts: 0,
      lagMs: 5,
      shedding: false,
      rssBytes: 80 << 20,
      cpuSeconds: undefined,
    },
  ],
  endpoints: [],
  ejected: [],
  unhealthy: [],
  pods: [],
  certificates: [],
  problems: [],
  node: {
    cpuBusy: 0.2,
    memoryTotalBytes: 8 * 2 ** 30,
    memoryAvailableBytes: 4 * 2 ** 30,
    diskTotalBytes: 100 * 2 ** 30,
    diskAvailableBytes: 50 * 2 ** 30,
    agentRssBytes: 90 << 20,
    agentLimitBytes: undefined,
  },
  policyChanges: [],
  world: WORLD,
}

export function pod(name: string, changes: Partial<PodSample> = {}): PodSample {
  return {
    name,
    owner: name.replace(/-\d+$/, ''),
    isReady: true,
    state: 'enrolled',
    detail: '',
    lastLogMs: undefined,
    memoryBytes: undefined,
    memoryLimitBytes: undefined,
    ...changes,
  }
}

export interface Went {
  readonly requests?: number
  readonly failed?: number
  readonly denied?: number
  readonly reason?: string
  readonly meanMs?: number
  /** Where it went; the Service's own name unless said otherwise. */
  readonly to?: string
}

/** Requests from a workload to a Service of `shop`. */
export function edge(from: string, service: string, went: Went = {}): EdgeSample {
  const { requests = 100, failed = 0, denied = 0, reason = '- 500', meanMs = 5, to = service } = went
  return {
    edge: { source: `shop/${from}`, destination: to === 'unknown' ? to : `shop/${to}`, service: `shop/${service}` },
    requests,
    failed,
    denied,
    reasons: failed === 0 ? {} : { [reason]: failed },
    durationMs: requests * meanMs,
  }
}

/** A history that is told of one look after the other. */
export class Watched {
  readonly history = new LookHistory()
  #at = 0

  /** What is found after so many looks of this kind; `changes` may go by the number of the look. */
  look(changes: Partial<NodeLook> | ((at: number) => Partial<NodeLook>) = {}, times = 1): readonly Finding[] {
    let found: readonly Finding[] = []
    for (let i = 0; i < times; i++) {
      const atMs = START + this.#at * LOOK_MS
      const seconds = this.#at === 0 ? 0 : LOOK_MS / 1000
      const changed = typeof changes === 'function' ? changes(this.#at) : changes
      this.#at++
      this.history.add({ atMs, seconds, ...QUIET, ...changed })
      found = diagnose(this.history)
    }
    return found
  }

  get atMs(): number {
    return START + (this.#at - 1) * LOOK_MS
  }
}
