/** Answers of `/traffic` → what went on in the last seconds, of one node or of all. */
import type { TrafficAnswer } from '#contract'
import { type EdgeRates, type Traffic, trafficBetween } from '#observer'

/** How far back rates reach, ms: long enough for a steady number, short enough to see what was done a moment ago. */
const WINDOW_MS = 10_000

export class TrafficWindow {
  #answers: TrafficAnswer[] = []

  /** The first answer of an agent that was started again, or of another node, begins anew. */
  add(answer: TrafficAnswer): Traffic | undefined {
    const last = this.#answers.at(-1)
    if (last !== undefined && (last.node !== answer.node || last.atMs >= answer.atMs)) this.#answers = []
    this.#answers.push(answer)
    while (this.#answers.length > 2 && answer.atMs - (this.#answers[1]?.atMs ?? 0) >= WINDOW_MS) this.#answers.shift()
    const [first] = this.#answers
    return first === undefined || first === answer ? undefined : trafficBetween(first, answer)
  }
}

/** Something moves on it, or is open. */
export function isBusy(row: {
  readonly requests: number
  readonly connections: number
  readonly bytesPerSecond: number
}): boolean {
  return row.requests > 0 || row.connections > 0 || row.bytesPerSecond > 0
}

/** Edges between two nodes are told by both: by the caller's, which knows what never arrived. */
export function toldOnce(edges: readonly EdgeRates[]): EdgeRates[] {
  const ends = ({ source, destination }: EdgeRates) => `${source} ${destination}`
  const bySource = new Set(edges.filter(({ reporter }) => reporter === 'source').map(ends))
  return edges.filter((edge) => edge.reporter === 'source' || !bySource.has(ends(edge)))
}

/** One end of a call as people name it: the workload, and where there is none the Service that was asked for. */
export function destinationOf({ destination, service }: EdgeRates): string {
  return destination === 'unknown' && service !== '' ? service : destination
}
