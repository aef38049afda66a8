import fc from 'fast-check'
import t from 'tap'
import { chainInto, listOfConfiguration, unchain } from '../../../cni/install/network-list.ts'

const ENTRY = { type: 'weir', socket: '/run/weir/cni.sock', index: '/i', excludeNamespaces: ['kube-system'] } as const

function chainedText(text: string): string {
  const chained = chainInto(text, ENTRY)
  if (chained.kind !== 'chained') throw new Error(JSON.stringify(chained))
  return chained.text
}

t.test('the entry comes last, in the style of the file', (t) => {
  const text = '{\n    "cniVersion": "1.0.0", "name": "k8s",\n    "plugins": [\n        {"type":"bridge"}\n    ]\n}\n'
  const chained = chainedText(text)
  t.same(
    JSON.parse(chained).plugins.map(({ type }: { type: string }) => type),
    ['bridge', 'weir'],
  )
  t.ok(chained.startsWith(text.slice(0, text.indexOf('\n    ]'))), 'nothing before it has moved')
  t.match(chained, /\n {8}\{\n {10}"type": "weir"/)
  t.equal(unchain(chained), text)
  t.equal(chainInto(chained, ENTRY).kind, 'unchanged')
  t.end()
})

t.test('an entry with other settings is replaced, never doubled', (t) => {
  const text = '{"cniVersion":"1.0.0","name":"k8s","plugins":[{"type":"bridge"}]}'
  const other = chainInto(text, { ...ENTRY, socket: '/elsewhere' })
  if (other.kind !== 'chained') return t.fail()
  const again = chainedText(other.text)
  t.same(JSON.parse(again).plugins, [{ type: 'bridge' }, ENTRY])
  t.equal(unchain(again), text)
  return t.end()
})

t.test('an entry that others moved is cut out wherever it is', (t) => {
  const own = JSON.stringify(ENTRY)
  const list = (plugins: string) => `{"cniVersion":"1.0.0","name":"a","plugins":[${plugins}]}`
  t.equal(unchain(list(`${own}, {"type":"a"}`)), list('{"type":"a"}'))
  t.equal(unchain(list(`{"type":"a"} , ${own} , {"type":"b"}`)), list('{"type":"a"} , {"type":"b"}'))
  t.equal(unchain(list(`${own},{"type":"a"},${own}`)), list('{"type":"a"}'))
  t.equal(unchain(list(own)), list(''))
  t.equal(unchain(list('{"type":"a"}')), undefined)
  t.equal(unchain('{"plugins": nonsense'), undefined)
  t.end()
})

t.test('names that look like the list elsewhere in the text are left alone', (t) => {
  const text =
    '{"x":{"plugins":[1]},"plugins":"old","s":"\\"plugins\\":[","cniVersion":"0.4.0","name":"]","plugins": [ {"type":"a","plugins":[{"type":"weir"}]} ] }'
  const chained = chainedText(text)
  t.equal(JSON.parse(chained).plugins.length, 2)
  t.equal(unchain(chained), text)
  t.end()
})

t.test('what cannot be chained into is left, with the reason', (t) => {
  const cases: [string, RegExp][] = [
    ['', /not a JSON object/],
    ['{"cniVersion":"1.0.0","plugins":[{"type":"br', /not a JSON object/],
    ['{"cniVersion":"1.0.0"}', /names no plugins/],
    ['{"cniVersion":"1.0.0","plugins":[]}', /names no plugins/],
    ['{"cniVersion":"0.2.0","plugins":[{"type":"a"}]}', /cniVersion "0.2.0"/],
    ['{"cniVersion":"1.1.0","cniVersions":["1.1.0","1.2.0"],"plugins":[{"type":"a"}]}', /cniVersion "1.2.0"/],
    [`{"cniVersion":"1.0.0","plugins":[{"type":"weir"}]}`, /no plugin but ours/],
  ]
  for (const [text, why] of cases) t.match(chainInto(text, ENTRY), { kind: 'unfit', why })
  t.match(listOfConfiguration('{"cniVersion":"1.0.0","name":"x"}', ENTRY), { kind: 'unfit', why: /no plugin type/ })
  t.end()
})

t.test('a lone configuration becomes a list of it and ours', (t) => {
  const conf = { cniVersion: '0.3.1', name: 'net', type: 'bridge', ipam: { type: 'host-local' } }
  const made = listOfConfiguration(JSON.stringify(conf), ENTRY)
  if (made.kind !== 'chained') return t.fail()
  t.same(JSON.parse(made.text), { cniVersion: '0.3.1', name: 'net', plugins: [conf, ENTRY] })
  return t.end()
})

t.test('chained and taken out again, any list is what it was, byte for byte', (t) => {
  const spaces = fc.constantFrom('', ' ', '\n', '\n  ', '\t', '\r\n    ')
  const plugin = fc.record({ type: fc.string().filter((type) => type !== 'weir'), more: fc.jsonValue() })
  fc.assert(
    fc.property(
      fc.array(plugin, { minLength: 1, maxLength: 4 }),
      fc.array(spaces, { minLength: 8, maxLength: 8 }),
      fc.dictionary(fc.string(), fc.jsonValue()),
      (plugins, [a = '', b = '', c = '', d = '', e = '', f = '', g = '', h = ''], others) => {
        const { plugins: _p, cniVersion: _v, cniVersions: _vs, ...rest } = others
        const list = plugins.map((one) => JSON.stringify(one)).join(`${a},${b}`)
        const tail = JSON.stringify({ cniVersion: '1.0.0', ...rest }).slice(1)
        const text = `${c}{${d}"plugins"${e}:${f}[${g}${list}${h}]${a},${b}${tail}${c}`
        const chained = chainedText(text)
        return (
          unchain(chained) === text &&
          JSON.stringify(JSON.parse(chained).plugins) === JSON.stringify([...plugins, ENTRY])
        )
      },
    ),
    { numRuns: 500 },
  )
  t.end()
})
