/** Cases over two nodes with mutual TLS between them: requests, new connections, one stream of bytes. */
import { performance } from 'node:perf_hooks'
import { type Contender, compare } from './compare.ts'
import { cpuMicros, peakMiB, sum } from './load.ts'
import { type BenchOptions, type BenchRow, medianRow } from './rows.ts'
import { openTwoHops } from './two-hops.ts'

export async function twoHopMtls(options: BenchOptions): Promise<BenchRow[]> {
  await using hops = await openTwoHops()
  return await compare('two-hop-mtls', hops.http, options)
}

/** A fresh connection per request. */
export async function twoHopConnections(options: BenchOptions): Promise<BenchRow[]> {
  await using hops = await openTwoHops()
  const closing = hops.http.map(({ host, peer }) => ({ host, peer: { ...peer, headers: ['Connection: close'] } }))
  return await compare('two-hop-connections', closing, options)
}

/** One stream: `cpuMicrosPerRequest` is CPU µs per MiB, `requestsPerSecond` is MiB per second; no latencies. */
export async function twoHopTcp(options: BenchOptions): Promise<BenchRow[]> {
  await using hops = await openTwoHops()
  const measured = new Map<string, BenchRow[]>()
  for (let round = 0; round <= options.rounds; round++) {
    for (const contender of hops.tcp) {
      const row = await sendBytes(contender, 128 * options.seconds)
      // The first round warms up.
      if (round > 0) measured.set(row.peer, [...(measured.get(row.peer) ?? []), row])
    }
  }
  return [...measured.values()].map(medianRow)
}

async function sendBytes({ host, peer }: Contender, mib: number): Promise<BenchRow> {
  const { hostname, port } = new URL(peer.url)
  const before = sum(peer.pids.map(cpuMicros))
  const startedAt = performance.now()
  const send = `head -c ${mib}M /dev/zero | nc -N ${hostname} ${port}`
  const { stdout, stderr } = await host.exec('sh', ['-c', send], { timeoutMs: 120_000 })
  const seconds = (performance.now() - startedAt) / 1000
  if (Number(stdout) !== mib * 1024 * 1024) throw new Error(`two-hop-tcp, ${peer.name}: ${stdout} arrived ${stderr}`)
  return {
    case: 'two-hop-tcp',
    connections: 1,
    peer: peer.name,
    cpuMicrosPerRequest: (sum(peer.pids.map(cpuMicros)) - before) / mib,
    requestsPerSecond: mib / seconds,
    p50Ms: 0,
    p99Ms: 0,
    rssMiB: sum(peer.pids.map(peakMiB)),
  }
}
