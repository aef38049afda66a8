/** Runs the benchmark's cases and prints a table per case; `--json FILE` also writes the rows. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { errorLine } from '#base'
import { grpcUnary, http2Gets } from './h2.ts'
import { manyPolicies, manyRoutes } from './many.ts'
import { oneHop } from './one-hop.ts'
import { type BenchOptions, type BenchRow, renderTable } from './rows.ts'
import { tap } from './tap.ts'
import { telemetry } from './telemetry.ts'
import { traces } from './traces.ts'
import { twoHopConnections, twoHopMtls, twoHopTcp } from './two-hop-mtls.ts'

const CASES: Readonly<Record<string, (options: BenchOptions) => Promise<BenchRow[]>>> = {
  'one-hop': oneHop,
  h2: http2Gets,
  'grpc-unary': grpcUnary,
  telemetry,
  tap,
  traces,
  'two-hop-mtls': twoHopMtls,
  'two-hop-connections': twoHopConnections,
  'two-hop-tcp': twoHopTcp,
  'many-routes': manyRoutes,
  'many-policies': manyPolicies,
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0 && value <= 10_000) return value
  console.error(`bench: --${name} takes a whole number from 1 to 10000, got ${text}`)
  process.exit(64)
}

const USAGE = `scripts/bench [--case NAME]… [--connections N]… [--seconds N] [--rounds N] [--json FILE]
  --case NAME       any number of times; all unless given: ${Object.keys(CASES).join(', ')}
  --connections N   any number of times; 1, 32 and 128 unless given
  --seconds N       how long each peer is loaded per round; 3 unless given
  --rounds N        3 unless given
  --json FILE       also write the rows there`

function readFlags() {
  try {
    return parseArgs({
      options: {
        case: { type: 'string', multiple: true },
        connections: { type: 'string', multiple: true },
        seconds: { type: 'string', default: '3' },
        rounds: { type: 'string', default: '3' },
        json: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (thrown) {
    console.error(`bench: ${errorLine(thrown)}\n${USAGE}`)
    process.exit(64)
  }
}

const { values } = readFlags()
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const names = values.case ?? Object.keys(CASES)
const options: BenchOptions = {
  connections: (values.connections ?? ['1', '32', '128']).map((text) => positive('connections', text)),
  seconds: positive('seconds', values.seconds),
  rounds: positive('rounds', values.rounds),
}
const rows: BenchRow[] = []
for (const name of names) {
  const run = CASES[name]
  if (run === undefined) {
    console.error(`bench: unknown case ${name}: known are ${Object.keys(CASES).join(', ')}`)
    process.exit(64)
  }
  const result = await run(options)
  rows.push(...result)
  console.log(`\n${name}\n${renderTable(result)}`)
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ rows }, null, 2)}\n`)
