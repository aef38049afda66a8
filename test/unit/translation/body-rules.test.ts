import fc from 'fast-check'
import t from 'tap'
import type { BodyRule, JsonPath } from '#contract'
import { type TranslatedBody, translateBody } from '#translation'
import { compileRule } from '../../../src/translation/body-rules.ts'

const path = (text: string): JsonPath =>
  text === ''
    ? []
    : text
        .slice(1)
        .split('/')
        .map((token) => (token === '*' ? null : token.replaceAll('~1', '/').replaceAll('~0', '~')))

const rename = (at: string, to: string): BodyRule => ({ type: 'Rename', path: path(at), to })
const move = (from: string, to: string): BodyRule => ({ type: 'Move', from: path(from), to: path(to) })
const remove = (at: string): BodyRule => ({ type: 'Remove', path: path(at) })
const fallback = (at: string, value: string): BodyRule => ({ type: 'Default', path: path(at), value })
const set = (at: string, value: string): BodyRule => ({ type: 'Set', path: path(at), value })

const translate = (text: string | Uint8Array, rules: readonly BodyRule[], max = 1 << 20): TranslatedBody =>
  translateBody(typeof text === 'string' ? Buffer.from(text) : text, rules.map(compileRule), max)

const after = (text: string, ...rules: readonly BodyRule[]): string => {
  const out = translate(text, rules)
  return out.kind === 'translated' ? out.text : `${out.kind}: ${'problem' in out ? out.problem : ''}`
}

t.test('a member is renamed in its place, everywhere that a wildcard leads to', (t) => {
  t.equal(after('{"a":1,"name":2,"z":3}', rename('/name', 'title')), '{"a":1,"title":2,"z":3}')
  t.equal(
    after('{"items":[{"name":1},{"x":0},7,{"name":2}]}', rename('/items/*/name', 'title')),
    '{"items":[{"title":1},{"x":0},7,{"title":2}]}',
  )
  t.equal(after('[[{"a":1}],[{"a":2}]]', rename('/*/*/a', 'b')), '[[{"b":1}],[{"b":2}]]')
  t.equal(after('{"a":1,"b":2}', rename('/a', 'b')), '{"b":1}', 'who had the name already goes: no name comes twice')
  t.equal(after('{"b":2,"a":1}', rename('/a', 'b')), '{"b":1}')
  t.equal(after('{"a/b":1,"~":2}', rename('/a~1b', 'c'), rename('/~0', 'd')), '{"c":1,"d":2}')
  t.equal(after('{"":1}', rename('/', 'empty')), '{"empty":1}')
  t.end()
})

t.test('a member moves between objects, which are made where they are missing', (t) => {
  t.equal(after('{"name":"x","id":1}', move('/name', '/person/full/name')), '{"id":1,"person":{"full":{"name":"x"}}}')
  t.equal(after('{"person":{"name":"x"},"id":1}', move('/person/name', '/name')), '{"person":{},"id":1,"name":"x"}')
  t.equal(
    after('{"l":[{"p":1},{"p":2,"q":{"r":0}},{}]}', move('/l/*/p', '/l/*/q/amount')),
    '{"l":[{"q":{"amount":1}},{"q":{"r":0,"amount":2}},{}]}',
  )
  t.equal(after('{"a":[{"b":1},{}]}', move('/a/0/b', '/a/1/b')), '{"a":[{},{"b":1}]}')
  t.equal(after('{"b":2}', move('/a', '/c/d')), '{"b":2}', 'what is not there does not move, and makes nothing')
  t.match(
    after('{"a":1,"c":"text"}', move('/a', '/c/d')),
    /^malformed: there is no object that "d" could be moved into/,
  )
  t.match(after('{"a":1,"c":[]}', move('/a', '/c/0/d')), /^malformed/)
  t.end()
})

t.test('members are removed, set, and given where they are missing', (t) => {
  t.equal(after('{"a":{"b":1,"c":2}}', remove('/a/b')), '{"a":{"c":2}}')
  t.equal(after('{"a":[1,2,3]}', remove('/a/1')), '{"a":[1,3]}')
  t.equal(after('{"a":[1,2,3]}', remove('/a/01')), '{"a":[1,2,3]}', 'an index has no leading zeros')
  t.equal(after('{"a":[1,2]}', remove('/a/*')), '{"a":[]}')
  t.equal(after('{"a":[{"x":1},{"x":2}]}', remove('/a/*/x')), '{"a":[{},{}]}')
  t.equal(after('{"a":1}', fallback('/a', '2'), fallback('/b', '{"c":[1.0]}')), '{"a":1,"b":{"c":[1.0]}}')
  t.equal(after('{"a":1}', set('/a', '2'), set('/b', '3')), '{"a":2,"b":3}')
  t.equal(after('{}', fallback('/missing/b', '1')), '{}', 'a default makes no objects on its way')
  t.equal(
    after('{"l":[{},{}]}', fallback('/l/*/o', '{}'), move('/l/*/x', '/l/*/o/x'), set('/l/0/o/k', '1')),
    '{"l":[{"o":{"k":1}},{"o":{}}]}',
    'each place has a value of its own',
  )
  t.end()
})

t.test('rules do nothing to what is no object, and go in their order', (t) => {
  for (const text of ['1', '"a"', 'null', '[]'])
    t.equal(after(text, rename('/a', 'b'), set('/a', '1'), remove('/a')), text)
  t.equal(after('{"a":1}', rename('/a', 'b'), rename('/b', 'c')), '{"c":1}')
  t.equal(after('{"a":1,"b":2}', rename('/a', 't'), rename('/b', 'a'), rename('/t', 'b')), '{"b":1,"a":2}')
  t.end()
})

t.test('names of JavaScript mean nothing', (t) => {
  t.equal(after('{"a":1}', rename('/a', '__proto__'), set('/__proto__/polluted', 'true')), '{"__proto__":1}')
  t.equal(after('{"x":{}}', set('/x/__proto__', '{"polluted":true}')), '{"x":{"__proto__":{"polluted":true}}}')
  t.equal(after('{}', remove('/toString'), rename('/constructor', 'c')), '{}')
  t.equal(after('{"a":1}', move('/a', '/__proto__/polluted')), '{"__proto__":{"polluted":1}}')
  t.notOk('polluted' in {})
  t.end()
})

t.test('what a rule adds is bounded', (t) => {
  const body = `{"l":[${Array.from({ length: 1000 }, () => '{}').join(',')}]}`
  t.equal(translate(body, [fallback('/l/*/a', `"${'x'.repeat(4000)}"`)]).kind, 'too-large')
  t.equal(translate(body, [move('/l/*/a', '/l/*/b/c')]).kind, 'translated')
  t.equal(translate(body, [fallback('/l/*/a', '1')], 8000).kind, 'too-large')
  t.equal(translate('{"abc":1}', [rename('/abc', 'a'.repeat(100))], 50).kind, 'too-large')
  t.end()
})

t.test('only UTF-8 is read; a byte order mark is skipped', (t) => {
  t.same(translate(Buffer.from([0x22, 0xff, 0x22]), []), { kind: 'malformed', problem: 'it is not UTF-8' })
  t.equal(after('\ufeff{"ä":"€😀"}', rename('/ä', 'ö')), '{"ö":"€😀"}')
  t.equal(translate('', []).kind, 'malformed')
  t.end()
})

t.test('renaming and moving there and back gives the document that there was', (t) => {
  const free = fc.string().filter((name) => !['new', 'box', 'old'].includes(name))
  const documents = fc.uniqueArray(fc.tuple(free, fc.jsonValue()), { selector: ([name]) => name, maxLength: 6 })
  fc.assert(
    fc.property(documents, fc.jsonValue(), fc.nat(6), (members, value, at) => {
      const all = members.map(([name, json]) => `${JSON.stringify(name)}:${JSON.stringify(json)}`)
      all.splice(at % (all.length + 1), 0, `"old":${JSON.stringify(value)}`)
      const text = `{${all.join(',')}}`
      if (after(text, rename('/old', 'new'), rename('/new', 'old')) !== text) return false
      const there = after(text, move('/old', '/box/inner/new'))
      const back = after(there, move('/box/inner/new', '/old'), remove('/box'))
      if (!there.includes('"box":{"inner":{"new":')) return false
      const sorted = (json: string) =>
        JSON.stringify(Object.entries(JSON.parse(json) as object).sort(([a], [b]) => (a < b ? -1 : 1)))
      return sorted(back) === sorted(text)
    }),
    { numRuns: 200 },
  )
  t.end()
})
