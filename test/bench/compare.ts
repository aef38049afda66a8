/** One case: all peers warmed up, then loaded in turn, round by round, so that what the machine does falls on all. */
import type { LabHost } from '../support/lab-host.ts'
import { measure } from './load.ts'
import type { Peer } from './peers.ts'
import { type BenchOptions, type BenchRow, medianRow } from './rows.ts'

export interface Contender {
  /** Where the client runs. */
  readonly host: LabHost
  readonly peer: Peer
}

export async function compare(
  name: string,
  contenders: readonly Contender[],
  options: BenchOptions,
): Promise<BenchRow[]> {
  const rows: BenchRow[] = []
  // Compilers and pools warm up before anything is counted.
  for (const { host, peer } of contenders)
    await measure({ host, ...peer, connections: 32, seconds: 2 }, 'warm-up', peer.name)
  for (const connections of options.connections) {
    const measured = new Map<string, BenchRow[]>()
    for (let round = 0; round < options.rounds; round++) {
      for (const { host, peer } of contenders) {
        const row = await measure({ host, ...peer, connections, seconds: options.seconds }, name, peer.name)
        measured.set(peer.name, [...(measured.get(peer.name) ?? []), row])
      }
    }
    for (const all of measured.values()) rows.push(medianRow(all))
  }
  return rows
}
