/**
 * Case `traces`: what spans cost, agent included. The same traffic without tracing, with all of it on but nothing sampled,
 * with the share that is the default, and with every request sampled; the collector takes everything at once.
 */
import { type Lab, openLab } from '../support/lab.ts'
import { compare } from './compare.ts'
import type { BenchOptions, BenchRow } from './rows.ts'
import { contender } from './telemetry.ts'

const FLAGS = ['--access-log', 'off']
const COLLECTOR = `
import http from 'node:http'
const server = http.createServer((request, response) => {
  request.resume()
  request.on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'))
})
server.listen(4318, '127.0.0.1', () => console.log('listening'))`

async function traced(lab: Lab, name: string, share: number) {
  await lab.node.node(COLLECTOR)
  const flags = ['--trace-otlp', 'http://127.0.0.1:4318/v1/traces', '--trace-sample', String(share)]
  return await contender(lab, name, [...FLAGS, ...flags])
}

export async function traces(options: BenchOptions): Promise<BenchRow[]> {
  await using off = await openLab({ ipv6: false })
  await using none = await openLab({ ipv6: false })
  await using some = await openLab({ ipv6: false })
  await using all = await openLab({ ipv6: false })
  const contenders = [
    await contender(off, 'weir', FLAGS),
    await traced(none, 'none sampled', 0),
    await traced(some, '1 % sampled', 0.01),
    await traced(all, 'all sampled', 1),
  ]
  return await compare('traces', contenders, options)
}
