import fc from 'fast-check'
import t from 'tap'
import type { KubernetesObject } from '#resources'
import { ListedObjects } from '../../../../src/discovery/kubernetes/listed-objects.ts'
import { objectsOf } from '../../mesh/compile-samples.ts'

const OBJECTS = objectsOf(
  [1, 2, 3].map((i) => `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: n${i} }\n`).join(''),
)
const change = fc.tuple(fc.nat(5).map(String), fc.option(fc.constantFrom(...OBJECTS), { nil: undefined }))

t.test('it lists what a map of the same changes has', async () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      const listed = new ListedObjects()
      const model = new Map<string, KubernetesObject>()
      for (const [key, object] of changes) {
        if (object === undefined) {
          listed.remove(key)
          model.delete(key)
        } else {
          listed.put(key, object)
          model.set(key, object)
        }
        const names = (objects: Iterable<KubernetesObject>) =>
          [...objects]
            .map(({ metadata }) => metadata.name)
            .sort()
            .join()
        if (names(listed.objects) !== names(model.values())) return false
      }
      return true
    }),
  )
})
