import t from 'tap'
// Inside the domain: nobody else needs it.
import { isOlder, ObjectStore } from '../../../../src/discovery/kubernetes/object-store.ts'
import { podObject, serviceObject } from '../../../support/cluster-objects.ts'
import type { FakeObject } from '../../../support/fake-objects.ts'

function at(version: number, object: FakeObject): FakeObject {
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } }
}

class Recorded {
  changes = 0
  readonly store = new ObjectStore(() => {
    this.changes++
  })

  list(version: number, ...objects: readonly FakeObject[]): void {
    const replacement = this.store.begin({})
    for (const object of objects) replacement.add(object)
    replacement.commit(String(version))
  }

  get versions(): readonly string[] {
    return [...this.store.entries].map(([key, { version }]) => `${key}@${version}`)
  }
}

t.test('Versions are compared as numbers, and not at all where they are none', (t) => {
  t.ok(isOlder('9', '10'))
  t.notOk(isOlder('10', '9'))
  t.notOk(isOlder('10', '10'))
  t.notOk(isOlder('a9', 'b10'))
  t.notOk(isOlder('', '10'))
  t.end()
})

t.test('Only what differs is a change', (t) => {
  const { store, ...recorded } = new Recorded()
  const all = new Recorded()
  t.equal(recorded.changes, 0)
  all.list(5, at(1, serviceObject('a')), at(2, serviceObject('b')))
  t.equal(all.changes, 1)
  const [first] = [...all.store.entries.values()]
  all.list(9, at(1, serviceObject('a')), at(8, serviceObject('b')))
  t.equal(all.changes, 1)
  t.equal([...all.store.entries.values()][0]?.object, first?.object)
  all.list(10, at(1, serviceObject('a')))
  t.equal(all.changes, 2)
  all.store.put(at(11, serviceObject('a')))
  t.equal(all.changes, 2)
  all.store.put(at(12, serviceObject('a', 81)))
  t.equal(all.changes, 3)
  all.store.remove(at(13, serviceObject('z')))
  t.equal(all.changes, 3)
  all.store.remove(at(13, serviceObject('a')))
  t.equal(all.changes, 4)
  all.store.clear()
  t.equal(all.changes, 4)
  t.equal(store.entries.size, 0)
  t.end()
})

t.test('What comes late changes nothing, and brings nothing back', (t) => {
  const recorded = new Recorded()
  const { store } = recorded
  store.put(at(5, serviceObject('a')))
  store.put(at(4, serviceObject('a', 1)))
  t.strictSame(recorded.versions, ['shop/a@5'])
  store.remove(at(3, serviceObject('a')))
  t.strictSame(recorded.versions, ['shop/a@5'])
  store.remove(at(6, serviceObject('a')))
  store.put(at(5, serviceObject('a')))
  t.strictSame(recorded.versions, [])
  store.put(at(7, serviceObject('a')))
  t.strictSame(recorded.versions, ['shop/a@7'], 'made again under its name')
  t.end()
})

t.test('A list may go back in time, as after a restore; a single answer that is newer than the list stays', (t) => {
  const recorded = new Recorded()
  const { store } = recorded
  store.put(at(50, serviceObject('a')))
  store.put(at(60, serviceObject('b')), true)
  store.put(at(61, serviceObject('c')), true)
  recorded.list(20, at(10, serviceObject('a')), at(12, serviceObject('c', 1)))
  t.strictSame(recorded.versions, ['shop/a@10', 'shop/c@61', 'shop/b@60'])
  store.put(at(60, serviceObject('b')))
  recorded.list(70, at(10, serviceObject('a')))
  t.strictSame(recorded.versions, ['shop/a@10'], 'the newer list knows better')
  t.end()
})

t.test('The copy that kubectl keeps in an annotation is not kept', (t) => {
  const { store } = new Recorded()
  const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': '{…}', 'weir.dev/mesh': 'enabled' }
  const { object } = store.put(at(1, podObject('a', { annotations })))
  t.strictSame(object?.metadata.annotations, { 'weir.dev/mesh': 'enabled' })
  t.end()
})

t.test('What is no object is told of, and takes one place', (t) => {
  const { store } = new Recorded()
  for (const value of [null, 7, {}, { metadata: { name: 3 } }, { kind: 'Pod' }]) store.put(value)
  t.equal(store.entries.size, 1)
  t.equal([...store.entries.values()][0]?.problems.length, 1)
  t.end()
})
