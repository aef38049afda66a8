/**
 * `npm run fuzz -- [--seconds N] [--iterations N] [--target NAME]… [--seed S]`: tries the targets one after the other, keeps
 * what it finds as seeds, and exits 1 when there was something.
 */
import { createHash } from 'node:crypto'
import { parseArgs } from 'node:util'
import { errorLine } from '#base'
import { keepInput, runTarget, seedsOf, TARGETS_MODULE } from './run-target.ts'
import { targets } from './targets.ts'

const USAGE = `npm run fuzz -- [--seconds N] [--iterations N] [--target NAME]… [--seed S]
  --seconds N      how long all targets together are tried; 60 unless given
  --iterations N   at most so many inputs per target
  --target NAME    any number of times; all unless given: ${targets.map(({ name }) => name).join(', ')}
  --seed S         a whole number; another one each time unless given, and printed`

function readFlags() {
  try {
    return parseArgs({
      options: {
        seconds: { type: 'string', default: '60' },
        iterations: { type: 'string' },
        target: { type: 'string', multiple: true },
        seed: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (thrown) {
    console.error(`fuzz: ${errorLine(thrown)}\n${USAGE}`)
    process.exit(64)
  }
}

function whole(name: string, text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  console.error(`fuzz: --${name} takes a whole number, got ${text}`)
  process.exit(64)
}

const flags = readFlags()
if (flags.help) {
  console.log(USAGE)
  process.exit(0)
}
const names = flags.target ?? targets.map(({ name }) => name)
for (const name of names) {
  if (targets.some((target) => target.name === name)) continue
  console.error(`fuzz: unknown target ${name}: known are ${targets.map((target) => target.name).join(', ')}`)
  process.exit(64)
}
const seed = flags.seed === undefined ? Date.now() % 2 ** 31 : whole('seed', flags.seed)
const iterations = flags.iterations === undefined ? Number.MAX_SAFE_INTEGER : whole('iterations', flags.iterations)
const seconds = whole('seconds', flags.seconds) / names.length
let found = 0
console.log(`seed ${seed}, ${Math.round(seconds * 10) / 10} s for each of ${names.length} targets`)
for (const target of names) {
  const seeds = seedsOf(target).map(({ bytes }) => bytes)
  const { tried, ways, finding } = await runTarget({ module: TARGETS_MODULE, target, seeds, seed, iterations, seconds })
  if (finding === undefined) {
    console.log(`${target}: ${tried} inputs, ${ways} ways they came out`)
    continue
  }
  found += 1
  const name = `found-${createHash('sha256').update(finding.input).digest('hex').slice(0, 12)}`
  console.log(
    `${target}: ${finding.kind} after ${tried} inputs\n${finding.problem}\n${JSON.stringify(finding.input.toString('latin1'))}`,
  )
  console.log(`kept as ${keepInput(target, name, finding.input)}: give it a name that says what it shows\n`)
}
process.exit(found === 0 ? 0 : 1)
