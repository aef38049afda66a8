import * as fc from 'fast-check'
import t from 'tap'
import { layOut } from '../../../src/page/graph-layout.ts'

const pairs = (text: string) =>
  text.split(' ').map((pair) => {
    const [from = '', to = ''] = pair.split('>')
    return { from, to }
  })

t.test('callers stand before whom they call, an edge past a layer has a place of its own in it', (t) => {
  const { nodes, edges, layers } = layOut(pairs('client>web web>reviews reviews>ratings web>ratings'))
  t.same(Object.fromEntries(nodes.map(({ name, layer }) => [name, layer])), {
    client: 0,
    web: 1,
    reviews: 2,
    ratings: 3,
  })
  t.equal(layers, 4)
  const past = edges.find(({ from, to }) => from === 'web' && to === 'ratings')
  t.same(
    past?.way.map(({ layer }) => layer),
    [1, 2, 3],
  )
  const reviews = nodes.find(({ name }) => name === 'reviews')
  t.not(past?.way[1]?.row, reviews?.row)
  t.end()
})

t.test('nothing is laid out to nothing, and calls to oneself have no way', (t) => {
  t.same(layOut([]), { nodes: [], edges: [], layers: 0, rows: 0 })
  t.same(layOut(pairs('a>a')).edges, [])
  t.end()
})

t.test('two that need not cross do not', (t) => {
  const { nodes } = layOut(pairs('a>z b>y c>x'))
  const rowOf = new Map(nodes.map(({ name, row }) => [name, row]))
  const order = (names: string) =>
    names
      .split('')
      .toSorted((a, b) => (rowOf.get(a) ?? 0) - (rowOf.get(b) ?? 0))
      .join('')
  t.same([order('abc'), order('xyz')], ['abc', 'zyx'])
  t.end()
})

t.test('whatever the graph, cycles too: all is placed, no two at one place, the same in any order', (t) => {
  const name = fc.constantFrom(...'abcdefgh'.split(''))
  const graph = fc.array(fc.record({ from: name, to: name }), { maxLength: 25 })
  fc.assert(
    fc.property(graph, (told) => {
      const laid = layOut(told)
      const places = laid.nodes.map(({ layer, row }) => `${layer} ${row}`)
      t.equal(new Set(places).size, places.length)
      const ends = new Set(told.filter(({ from, to }) => from !== to).map(({ from, to }) => `${from}>${to}`))
      t.same(
        laid.edges.map(({ from, to }) => `${from}>${to}`),
        [...ends].sort(),
      )
      t.ok(laid.nodes.every(({ row, layer }) => row >= 0 && row < laid.rows && layer < laid.layers))
      t.same(layOut(told.toReversed()), laid)
    }),
    { numRuns: 200 },
  )
  t.end()
})
