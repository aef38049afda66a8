import fc from 'fast-check'
import t from 'tap'
import { LayeredMap } from '../../../src/mesh/layered-map.ts'

const changes = fc.array(fc.tuple(fc.nat(60).map(String), fc.option(fc.nat(9), { nil: undefined })), { maxLength: 12 })

t.test('it is a map, after any changes, and each one before stays as it was', async () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 20 }), (steps) => {
      let map = new LayeredMap<number>()
      let model = new Map<string, number>()
      const made: [LayeredMap<number>, Map<string, number>][] = []
      for (const step of steps) {
        const change = new Map(step)
        map = map.with(change)
        model = new Map(model)
        for (const [key, value] of change) {
          if (value === undefined) model.delete(key)
          else model.set(key, value)
        }
        made.push([map, model])
      }
      return made.every(
        ([map, model]) =>
          map.size === model.size &&
          [...map].length === model.size &&
          [...map].every(([key, value]) => model.get(key) === value) &&
          [...map.keys()].every((key) => map.has(key)) &&
          Array.from({ length: 61 }, (_, i) => String(i)).every((key) => map.get(key) === model.get(key)),
      )
    }),
    { numRuns: 300 },
  )
})
