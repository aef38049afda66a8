/** Every kept seed of every fuzz target, and a fixed number of inputs made of them: `npm run fuzz` tries more. */
import { readdirSync } from 'node:fs'
import t from 'tap'
import { runTarget, SEEDS_DIR, seedsOf, TARGETS_MODULE } from '../../fuzz/run-target.ts'
import { targets } from '../../fuzz/targets.ts'

/** Inputs per target; those that cost most get fewer. */
const ITERATIONS: Readonly<Record<string, number>> = { manifests: 300, 'http1-body': 1000 }
const ITERATIONS_DEFAULT = 2000

t.test('each folder of seeds belongs to a target', async (t) => {
  t.same(readdirSync(SEEDS_DIR).sort(), targets.map(({ name }) => name).sort())
})

for (const { name } of targets) {
  t.test(`${name}: nothing is wrong with its seeds and inputs made of them`, async (t) => {
    const seeds = seedsOf(name).map(({ bytes }) => bytes)
    t.ok(seeds.length > 0, 'there are seeds')
    const iterations = ITERATIONS[name] ?? ITERATIONS_DEFAULT
    const { tried, finding } = await runTarget({ module: TARGETS_MODULE, target: name, seeds, seed: 1, iterations })
    t.equal(
      finding === undefined
        ? ''
        : `${finding.kind}: ${finding.problem}\n${JSON.stringify(finding.input.toString('latin1'))}`,
      '',
    )
    if (finding === undefined) t.equal(tried, seeds.length + iterations)
  })
}
