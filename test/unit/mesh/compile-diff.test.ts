import fc from 'fast-check'
import t from 'tap'
import { type MeshObject, meshKey } from '#contract'
import { diffWorld } from '../../../src/mesh/compile/index.ts'
import { compile, manifest, pod } from './compile-samples.ts'

t.test('The delta holds what is new or different, and what is gone', (t) => {
  const service = (port: number): string => manifest('v1', 'Service', 'web', `spec: { ports: [{ port: ${port} }] }`)
  const before = compile(pod('a', '10.0.0.1') + pod('b', '10.0.0.2') + service(80)).world
  const after = compile(pod('a', '10.0.0.1') + pod('c', '10.0.0.3') + service(81)).world
  const { upsert, remove } = diffWorld(before, after)
  t.strictSame(upsert.map(meshKey).sort(), ['service:shop/web', 'workload:shop/c'])
  t.strictSame(remove, ['workload:shop/b'])
  t.strictSame(diffWorld(before, compile(service(80) + pod('b', '10.0.0.2') + pod('a', '10.0.0.1')).world), {
    upsert: [],
    remove: [],
  })
  t.end()
})

t.test('A field that comes or goes is a difference', (t) => {
  const policy = (spec: string): string => manifest('weir.dev/v1alpha1', 'AuthorizationPolicy', 'p', `spec: ${spec}`)
  const whole = compile(policy('{ rules: [{ to: [{ operation: { methods: [GET] } }] }] }')).world
  const bare = compile(policy('{ rules: [{}] }')).world
  t.equal(diffWorld(whole, bare).upsert.length, 1)
  t.equal(diffWorld(bare, whole).upsert.length, 1)
  t.end()
})

t.test('Deltas applied one after the other give the last world', (t) => {
  const world = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.integer({ min: 1, max: 3 })).map(
    (pods) =>
      compile(
        Object.entries(pods)
          .map(([name, last], index) => pod(name, `10.0.${index}.${last}`))
          .join(''),
      ).world,
  )
  fc.assert(
    fc.property(fc.array(world, { minLength: 1, maxLength: 4 }), (worlds) => {
      const applied = new Map<string, MeshObject>()
      let before: (typeof worlds)[number] = new Map()
      for (const after of worlds) {
        const { upsert, remove } = diffWorld(before, after)
        for (const key of remove) applied.delete(key)
        for (const object of upsert) applied.set(meshKey(object), object)
        before = after
      }
      const plain = (map: ReadonlyMap<string, unknown>): string =>
        JSON.stringify([...map].sort(([a], [b]) => (a < b ? -1 : 1)))
      return plain(applied) === plain(before)
    }),
    { numRuns: 50 },
  )
  t.end()
})
