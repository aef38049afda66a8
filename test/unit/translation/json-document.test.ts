import fc from 'fast-check'
import t from 'tap'
import { type JsonNode, JsonObject, parseJson, renderJson } from '../../../src/translation/json-document.ts'

const rendered = (text: string): string | undefined => {
  const parsed = parseJson(text)
  return parsed.ok ? renderJson(parsed.root, Number.POSITIVE_INFINITY) : undefined
}

/** Numbers as people write them, beyond what a double holds. */
const numberText = fc.stringMatching(/^-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?$/)

/** JSON without whitespace, with names that come once, in any order. */
const jsonText: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    numberText,
    fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
    fc.constantFrom('true', 'false', 'null', '"\\u0041\\/"'),
    fc.array(tie('value'), { maxLength: 4 }).map((items) => `[${items.join(',')}]`),
    fc
      .uniqueArray(
        fc.tuple(
          fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', '10', '9', 'toString')),
          tie('value'),
        ),
        {
          maxLength: 4,
          selector: ([name]) => name,
        },
      )
      .map((members) => `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(',')}}`),
  ),
})).value

t.test('a document comes out as it went in: numbers, escapes and the order of members', (t) => {
  fc.assert(fc.property(jsonText, (text) => rendered(text) === text))
  t.equal(
    rendered('{"n":12345678901234567890,"b":1.0,"a":-0,"e":1E400}'),
    '{"n":12345678901234567890,"b":1.0,"a":-0,"e":1E400}',
  )
  t.equal(rendered('{"10":1,"9":2,"é":"\\u00e9"}'), '{"10":1,"9":2,"é":"\\u00e9"}')
  t.equal(rendered(' { "a" :\t[ 1 ,\r\n2 ] } '), '{"a":[1,2]}')
  t.end()
})

t.test('what JSON.parse takes is taken and what it refuses is refused, names that come twice aside', (t) => {
  const accepted = (text: string): boolean => {
    try {
      JSON.parse(text)
      return true
    } catch {
      return false
    }
  }
  const mutated = fc
    .tuple(
      jsonText,
      fc.nat(),
      fc.constantFrom('', '{', '}', '[', ']', ',', ':', '"', '\\', '0', '-', '.', 'e', ' ', 'n', '\u0000'),
      fc.nat(2),
    )
    .map(([text, at, character, drop]) => {
      const from = at % (text.length + 1)
      return text.slice(0, from) + character + text.slice(from + drop)
    })
  fc.assert(
    fc.property(mutated, (text) => {
      const parsed = parseJson(text)
      if (!parsed.ok && parsed.problem.startsWith('a name comes twice')) return true
      return parsed.ok === accepted(text)
    }),
    { numRuns: 500 },
  )
  for (const text of [
    '',
    '01',
    '1.',
    '.5',
    '+1',
    'nul',
    '"\t"',
    '"\\x"',
    '"\\u12g4"',
    '[1,]',
    '{"a"}',
    '{a:1}',
    '1 2',
    '"',
    '{',
    "'a'",
    'NaN',
  ])
    t.notOk(parseJson(text).ok, text)
  t.end()
})

t.test('a name that comes twice in an object is refused, however it is written', (t) => {
  for (const text of ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"x":{"__proto__":1,"__proto__":2}}']) {
    const parsed = parseJson(text)
    t.match(parsed.ok ? '' : parsed.problem, /^a name comes twice in an object/, text)
  }
  const many = Array.from({ length: 50 }, (_, i) => `"k${i}":${i}`).join(',')
  t.notOk(parseJson(`{${many},"k3":1}`).ok)
  t.ok(parseJson(`{${many}}`).ok)
  t.ok(parseJson('{"a":{"b":1},"b":{"a":1}}').ok)
  t.end()
})

t.test('depth and number of values are bounded', (t) => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
  t.ok(parseJson(nested(64)).ok)
  t.same(parseJson(nested(65)), { ok: false, problem: 'nested deeper than 64 at character 64' })
  t.notOk(parseJson('['.repeat(500_000)).ok, 'and do not use up the stack')
  t.notOk(parseJson(`[${'1,'.repeat(250_000)}1]`).ok)
  t.end()
})

t.test('nothing of a document reaches the prototype of objects', (t) => {
  const parsed = parseJson('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}')
  t.ok(parsed.ok)
  const root: JsonNode = parsed.ok ? parsed.root : 'null'
  t.ok(root instanceof JsonObject)
  t.same(root instanceof JsonObject ? root.names : [], ['__proto__', 'constructor'])
  t.notOk('polluted' in {})
  t.end()
})

t.test('nothing longer than asked for is rendered', (t) => {
  const parsed = parseJson('{"a":[1,2,3]}')
  t.equal(parsed.ok && renderJson(parsed.root, 13), '{"a":[1,2,3]}')
  t.equal(parsed.ok ? renderJson(parsed.root, 12) : '', undefined)
  t.end()
})
