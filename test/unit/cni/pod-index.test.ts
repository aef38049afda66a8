import t from 'tap'
import { isIndexedAsOptedIn, parsePodIndex, renderPodIndex } from '../../../cni/pod-index.ts'

const index = parsePodIndex(
  renderPodIndex({
    namespaces: ['shop'],
    pods: [
      { namespace: 'shop', name: 'out', uid: 'u1', optedIn: false },
      { namespace: 'lab', name: 'in', uid: 'u2', optedIn: true },
      { namespace: 'lab', name: 'manifest', optedIn: true },
    ],
  }),
)

t.test('known pods by their own word, unknown ones by their namespace', (t) => {
  const cases: [string, string, string | undefined, boolean][] = [
    ['shop', 'out', 'u1', false],
    ['shop', 'out', undefined, false],
    ['shop', 'out', 'another', true],
    ['shop', 'new', 'u9', true],
    ['lab', 'in', 'u2', true],
    ['lab', 'in', 'another', false],
    ['lab', 'manifest', 'any', true],
    ['lab', 'new', undefined, false],
    ['other', 'in', 'u2', false],
  ]
  for (const [namespace, name, uid, expected] of cases) {
    const pod = { namespace, name, ...(uid === undefined ? {} : { uid }) }
    t.equal(isIndexedAsOptedIn(index, pod), expected, `${namespace}/${name} ${uid ?? ''}`)
  }
  t.equal(isIndexedAsOptedIn(undefined, { namespace: 'shop', name: 'x' }), false, 'no index')
  t.end()
})

t.test('equal knowledge gives equal text', (t) => {
  const [a, b] = [
    { namespace: 'n', name: 'a', optedIn: true },
    { namespace: 'n', name: 'b', optedIn: true },
  ] as const
  t.equal(
    renderPodIndex({ namespaces: ['y', 'x'], pods: [a, b] }),
    renderPodIndex({ namespaces: ['x', 'y'], pods: [b, a] }),
  )
  t.end()
})

t.test('anything but an index of this format is none', (t) => {
  for (const text of [
    '',
    'null',
    '{}',
    '{"format":2,"namespaces":[],"pods":[]}',
    '{"format":1,"namespaces":[1],"pods":[]}',
    '{"format":1,"namespaces":[],"pods":[{"namespace":"a"}]}',
    '{"format":1,"namespaces":[],"pods":[nul',
  ]) {
    t.equal(parsePodIndex(text), undefined, text)
  }
  t.end()
})
