import fc from 'fast-check'
import t from 'tap'
import type { PodObject } from '#resources'
import { PodSelection } from '../../../src/mesh/compile/pod-selection.ts'
import { objectsOf, pod } from './compile-samples.ts'

const label = fc.constantFrom('a', 'b', 'constructor')
const labels = fc.dictionary(label, fc.constantFrom('1', '2', ''), { maxKeys: 3 })

t.test('a selection finds what looking at every pod finds, in the same order', (t) => {
  fc.assert(
    fc.property(fc.array(labels, { maxLength: 12 }), labels, (ofPods, selector) => {
      const text = ofPods.map((own, i) => pod(`p${i}`, `10.0.0.${i + 1}`, { more: `labels: ${JSON.stringify(own)}` }))
      const pods = objectsOf(text.join('')) as PodObject[]
      const wanted = Object.entries(selector)
      const expected = pods.filter(({ metadata }) => wanted.every(([name, value]) => metadata.labels[name] === value))
      const selection = new PodSelection(pods)
      t.same(selection.select('shop', selector), expected)
      t.equal(
        selection.selectAnywhere(selector, () => true),
        expected.length > 0,
      )
      t.same(selection.select('elsewhere', selector), [])
    }),
    { numRuns: 200 },
  )
  t.end()
})
