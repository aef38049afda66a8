import fc from 'fast-check'
import t from 'tap'
import { SharedMap } from '../../../src/mesh/shared-map.ts'

const KEYS = 900
const some = fc.array(fc.tuple(fc.nat(KEYS).map(String), fc.option(fc.nat(9), { nil: undefined })), { maxLength: 12 })
/** So many that the map is dealt anew, or nearly emptied. */
const many = fc
  .tuple(fc.nat(KEYS), fc.nat(KEYS), fc.option(fc.nat(9), { nil: undefined }))
  .map(([from, count, value]) => Array.from({ length: count }, (_, i) => [String(from + i), value] as const))
const changes = fc.oneof(some, some, many)

t.test('it is a map, after any changes, and each one before stays as it was', async () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 12 }), (steps) => {
      let map = new SharedMap<number>()
      let model = new Map<string, number>()
      const made: [SharedMap<number>, Map<string, number>][] = []
      for (const step of steps) {
        const change = new Map<string, number | undefined>(step)
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
          Array.from({ length: 2 * KEYS }, (_, i) => String(i)).every((key) => map.get(key) === model.get(key)),
      )
    }),
    { numRuns: 150 },
  )
})
