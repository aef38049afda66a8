/** The language of alert rules: what it means, what it refuses and where, and what is not known. */
import fc from 'fast-check'
import t from 'tap'
import {
  evaluateCondition,
  evaluateNumber,
  type KnownValues,
  ratesIn,
} from '../../../../src/observer/alerts/evaluate-expression.ts'
import { type ConditionNode, parseExpression } from '../../../../src/observer/alerts/expression.ts'

function read(source: string): ConditionNode {
  const parsed = parseExpression(source)
  if (parsed.kind === 'error') throw new Error(`${source}: column ${parsed.error.column}: ${parsed.error.message}`)
  return parsed.condition
}

function errorOf(source: string): string {
  const parsed = parseExpression(source)
  return parsed.kind === 'error' ? `${parsed.error.column}: ${parsed.error.message}` : 'no error'
}

function knowing(values: Readonly<Record<string, number>>): KnownValues {
  const of = (kind: string) => (name: string, labels: object) => values[`${kind} ${name} ${JSON.stringify(labels)}`]
  return { value: (name) => values[name], metric: of('metric'), rate: of('rate') }
}

function say(source: string, values: Readonly<Record<string, number>> = {}): boolean | undefined {
  return evaluateCondition(read(source), knowing(values))
}

t.test('what is written means what it means in arithmetic', async (t) => {
  for (const [source, expected] of [
    ['1 + 2 * 3 == 7', true],
    ['(1 + 2) * 3 == 9', true],
    ['10 - 3 - 2 == 5', true],
    ['16 / 4 / 2 == 2', true],
    ['-2 * -3 == 6', true],
    ['2 > 1 and 1 > 2 or 3 >= 3', true],
    ['2 > 1 and (1 > 2 or 3 < 3)', false],
    ['not 1 > 2 and not (2 > 1 and 1 > 0)', false],
    ['1 != 1', false],
    ['1 <= 1 and 1.5 >= 1.5', true],
  ] as const) {
    t.equal(say(source), expected, source)
  }
})

t.test('units are shares and milliseconds', async (t) => {
  t.equal(say('5% == 0.05 and 500ms == 500 and 2s == 2000 and 1.5m == 90000 and 1h == 3600000'), true)
  t.equal(say('2k == 2000 and 1Ki == 1024 and 1Mi == 1048576 and 1Gi == 1073741824'), true)
})

t.test('values are those of what the rule is about', async (t) => {
  const values = { requests: 200, errors: 20, p99: 700 }
  t.equal(say('errors / requests > 5% and requests > 10', values), true)
  t.equal(say('p99 > 1s', values), false)
  const metrics = { 'metric up {"process":"proxy-0","a":"b"}': 3, 'rate istio_requests_total {}': 12 }
  t.equal(say('metric("up", {process="proxy-0", a = "b"}) == 3 and rate("istio_requests_total") > 10', metrics), true)
  t.equal(say('metric("up", {}) == 3', metrics), undefined)
})

t.test('what has no value is unknown, and so is what hangs on it alone', async (t) => {
  t.equal(say('errors / requests > 5%', { errors: 0, requests: 0 }), undefined)
  t.equal(say('1 / 0 > 1'), undefined)
  t.equal(say('p99 > 1s'), undefined)
  t.equal(say('not p99 > 1s'), undefined)
  t.equal(say('p99 > 1s and 2 > 1'), undefined)
  t.equal(say('p99 > 1s or 1 > 2'), undefined)
  t.equal(say('p99 > 1s and 1 > 2'), false)
  t.equal(say('1 > 2 and p99 > 1s'), false)
  t.equal(say('p99 > 1s or 2 > 1'), true)
  t.equal(say('1000000000000000h * 1000000000000000h * metric("huge") > 1', { 'metric huge {}': 1e300 }), undefined)
})

t.test('a mistake is told with its column and the nearest name', async (t) => {
  for (const [source, expected] of [
    ['', '1: expected a number, a value or (, got the end'],
    ['errors', '1: an expression must be a condition, as errorRate > 5%; here is a number'],
    ['erorrs > 1', '1: "erorrs" is not known; did you mean errors?'],
    ['requests > 1 and erorRate > 1', '18: "erorRate" is not known; did you mean errorRate?'],
    [
      'whatever > 1',
      '1: "whatever" is not known; there are requests, errors, errorRate, requestsPerSecond, p50, p95, p99, connections, bytesPerSecond, cpu, memory, lag, proxyCpu, and metric("…") and rate("…")',
    ],
    ['requests = 1', '10: = compares nothing; write =='],
    ['requests > 1 && errors > 1', '14: "&" means nothing here; write and'],
    ['requests > 1 || errors > 1', '14: "|" means nothing here; write or'],
    ['!requests > 1', '1: "!" means nothing here; write not'],
    ["metric('up') > 1", `8: "'" means nothing here; write double quotes`],
    ['metric(up) > 1', '8: expected the name of a metric in quotes, as metric("istio_requests_total"), got "up"'],
    ['metric("up > 1', '8: a text without its closing quote'],
    ['metric("up", {a="b" c="d"}) > 1', '21: expected ,, got "c"'],
    ['1 < requests < 5', '14: only two things are compared at a time; join comparisons by and'],
    ['requests and 5 > 1', '1: and stands between conditions; here is a number'],
    ['5 > 1 and requests', '11: and stands between conditions; here is a number'],
    ['(5 > 1) + 1 > 0', '1: + stands between numbers; here is a condition'],
    ['5 > (1 > 2)', '5: > compares numbers; here is a condition'],
    ['not requests', '5: not stands before a condition; here is a number'],
    ['-(1 > 2) > 0', '2: - stands before a number; here is a condition'],
    ['requests > 5 5', '14: expected the end, got "5"'],
    ['(requests > 5', '14: expected ), got the end'],
    ['requests > 5d', '12: "5d" has no unit that is known; there are %, ms, s, m, h, k, Ki, Mi, Gi'],
    ['requests > "5"', '12: expected a number, a value or (, got the text "5"'],
    ['requests > 😀', '12: "😀" means nothing here'],
    [`${'('.repeat(33)}1 > 0${')'.repeat(33)}`, '34: is nested deeper than 32 levels'],
    [`requests > ${'1'.repeat(1024)}`, '1025: is longer than 1024 characters'],
  ] as const) {
    const found = errorOf(source)
    t.equal(found, expected, source)
  }
  t.equal(errorOf(`${'('.repeat(32)}1 > 0${')'.repeat(32)}`), 'no error')
})

t.test('all metrics whose growth is looked at are known', async (t) => {
  t.same(
    ratesIn(read('not rate("a") > 1 and -rate("b", {x="y"}) + metric("c") * 2 < rate("a")')).map(({ name }) => name),
    ['a', 'b', 'a'],
  )
})

type Tree = number | { readonly op: '+' | '-' | '*' | '/'; readonly left: Tree; readonly right: Tree }

const trees = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.integer({ min: 0, max: 50 }),
    fc.record({ op: fc.constantFrom('+', '-', '*', '/'), left: tie('tree'), right: tie('tree') }),
  ),
})).tree

/** All parentheses, or the fewest. */
function write(tree: Tree, isSpare: boolean, above = 0): string {
  if (typeof tree === 'number') return String(tree)
  const binds = tree.op === '+' || tree.op === '-' ? 1 : 2
  const text = `${write(tree.left, isSpare, binds)} ${tree.op} ${write(tree.right, isSpare, binds + 1)}`
  return isSpare && binds >= above ? text : `(${text})`
}

function calculate(tree: Tree): number {
  if (typeof tree === 'number') return tree
  const [left, right] = [calculate(tree.left), calculate(tree.right)]
  if (tree.op === '+') return left + right
  if (tree.op === '-') return left - right
  return tree.op === '*' ? left * right : left / right
}

/** A number without a value anywhere in it. */
function isKnown(tree: Tree): boolean {
  return Number.isFinite(calculate(tree)) && (typeof tree === 'number' || (isKnown(tree.left) && isKnown(tree.right)))
}

t.test('any arithmetic comes out as JavaScript says, whichever way it is written', async (t) => {
  fc.assert(
    fc.property(trees, fc.boolean(), (tree, isSpare) => {
      const source = `${write(tree, isSpare)} == 0`
      if (source.length > 1024) return
      const condition = read(source)
      if (condition.kind !== '==') throw new Error('not a comparison')
      const value = evaluateNumber(condition.left, knowing({}))
      const expected = isKnown(tree) ? calculate(tree) : undefined
      if (value !== expected) throw new Error(`${source}: ${value}, not ${expected}`)
    }),
  )
  t.pass()
})
