import fc from 'fast-check'
import t from 'tap'
import { ObjectSet } from '#discovery'
import type { KubernetesObject } from '#resources'
import { objectsOf } from '../mesh/compile-samples.ts'

const OBJECTS = objectsOf(
  [1, 2, 3, 4].map((i) => `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: n${i} }\n`).join(''),
)
const step = fc.tuple(fc.boolean(), fc.constantFrom(...OBJECTS))

t.test('it lists what a set of the same steps has, and the change leads from one to the next', async () => {
  fc.assert(
    fc.property(fc.array(fc.array(step, { maxLength: 8 }), { maxLength: 10 }), (rounds) => {
      const set = new ObjectSet()
      const model = new Set<KubernetesObject>()
      const list = set.objects
      for (const round of rounds) {
        const before = new Set(model)
        for (const [isAdded, object] of round) {
          if (isAdded) set.add(object)
          else set.remove(object)
          if (isAdded) model.add(object)
          else model.delete(object)
        }
        if (list.length !== model.size || !list.every((object) => model.has(object))) return false
        if (!OBJECTS.every((object) => set.has(object) === model.has(object))) return false
        const { removed, added } = set.takeChange()
        if (!removed.every((object) => before.has(object) && !model.has(object))) return false
        if (!added.every((object) => !before.has(object) && model.has(object))) return false
        if (before.size - removed.length + added.length !== model.size) return false
      }
      return true
    }),
  )
})
