/**
 * Conditions that users write in alert rules, as `errors / requests > 5% and requests > 10`: numbers with units, values of
 * what the rule is about, metrics, arithmetic, comparisons. Bounded in length and depth; a condition is a condition and a
 * number a number, which is found out when it is read and not when it matters.
 */
import { nearestName } from '#schema'
import { type ExpressionError, readTokens, type Token } from './expression-tokens.ts'

export const TRAFFIC_VALUES = [
  'requests',
  'errors',
  'errorRate',
  'requestsPerSecond',
  'p50',
  'p95',
  'p99',
  'connections',
  'bytesPerSecond',
] as const
export const NODE_VALUES = ['cpu', 'memory', 'lag', 'proxyCpu'] as const

/** Of a window of traffic, for what the rule is about; of the node, the same for all. Times in ms, shares 0 to 1. */
export type ValueName = (typeof TRAFFIC_VALUES)[number] | (typeof NODE_VALUES)[number]
export type Labels = Readonly<Record<string, string>>

export type NumberNode =
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'value'; readonly name: ValueName }
  /** `metric`: the sum of the series that have these labels. `rate`: what they grow by in a second. */
  | { readonly kind: 'metric' | 'rate'; readonly name: string; readonly labels: Labels }
  | { readonly kind: 'negative'; readonly of: NumberNode }
  | { readonly kind: '+' | '-' | '*' | '/'; readonly left: NumberNode; readonly right: NumberNode }

export type ConditionNode =
  | {
      readonly kind: '<' | '<=' | '>' | '>=' | '==' | '!='
      readonly left: NumberNode
      readonly right: NumberNode
    }
  | { readonly kind: 'and' | 'or'; readonly left: ConditionNode; readonly right: ConditionNode }
  | { readonly kind: 'not'; readonly of: ConditionNode }

export type ParsedExpression =
  | { readonly kind: 'expression'; readonly condition: ConditionNode }
  | { readonly kind: 'error'; readonly error: ExpressionError }

export const MAX_EXPRESSION_LENGTH = 1024
const MAX_DEPTH = 32

const VALUES: readonly ValueName[] = [...TRAFFIC_VALUES, ...NODE_VALUES]
const FUNCTIONS = ['metric', 'rate'] as const
const WORDS = ['and', 'or', 'not'] as const
const COMPARISONS = ['<', '<=', '>', '>=', '==', '!='] as const
const SUMS = ['+', '-'] as const
const PRODUCTS = ['*', '/'] as const

/** Never throws. */
export function parseExpression(source: string): ParsedExpression {
  if (source.length > MAX_EXPRESSION_LENGTH) {
    const message = `is longer than ${MAX_EXPRESSION_LENGTH} characters`
    return { kind: 'error', error: { column: MAX_EXPRESSION_LENGTH + 1, message } }
  }
  const tokens = readTokens(source)
  if ('message' in tokens) return { kind: 'error', error: tokens }
  try {
    return { kind: 'expression', condition: new Parser(tokens).whole() }
  } catch (thrown) {
    if (thrown instanceof Misread) return { kind: 'error', error: thrown }
    throw thrown
  }
}

/** Of the parser's own making, and caught above: it ends many levels at once. */
class Misread extends Error implements ExpressionError {
  readonly column: number

  constructor(column: number, message: string) {
    super(message)
    this.column = column
  }
}

type Node =
  | { readonly is: 'number'; readonly node: NumberNode }
  | { readonly is: 'condition'; readonly node: ConditionNode }

/** One method per level of binding, the loosest first. */
class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): ConditionNode {
    const { column } = this.#next
    const condition = conditionOf(this.#or(), column, 'an expression must be a condition, as errorRate > 5%')
    if (this.#next.kind !== 'end') throw this.#unexpected('the end')
    return condition
  }

  #or(): Node {
    return this.#joined('or', () => this.#joined('and', () => this.#not()))
  }

  #joined(word: 'and' | 'or', operand: () => Node): Node {
    let { column } = this.#next
    let left = operand()
    while (this.#takes('name', word)) {
      const wanted = `${word} stands between conditions`
      const first = conditionOf(left, column, wanted)
      column = this.#next.column
      left = { is: 'condition', node: { kind: word, left: first, right: conditionOf(operand(), column, wanted) } }
    }
    return left
  }

  #not(): Node {
    if (!this.#takes('name', 'not')) return this.#comparison()
    const { column } = this.#next
    const of = conditionOf(
      this.#deeper(() => this.#not()),
      column,
      'not stands before a condition',
    )
    return { is: 'condition', node: { kind: 'not', of } }
  }

  #comparison(): Node {
    const { column } = this.#next
    const left = this.#sum()
    if (this.#next.kind === 'sign' && this.#next.text === '=') {
      throw new Misread(this.#next.column, '= compares nothing; write ==')
    }
    const kind = COMPARISONS.find((sign) => this.#takes('sign', sign))
    if (kind === undefined) return left
    const first = numberOf(left, column, `${kind} compares numbers`)
    const after = this.#next.column
    const right = numberOf(this.#sum(), after, `${kind} compares numbers`)
    if (COMPARISONS.some((sign) => this.#isNext('sign', sign))) {
      throw new Misread(this.#next.column, 'only two things are compared at a time; join comparisons by and')
    }
    return { is: 'condition', node: { kind, left: first, right } }
  }

  #sum(): Node {
    return this.#chained(SUMS, () => this.#chained(PRODUCTS, () => this.#negative()))
  }

  #chained(kinds: readonly ('+' | '-' | '*' | '/')[], operand: () => Node): Node {
    let { column } = this.#next
    let left = operand()
    for (;;) {
      const kind = kinds.find((sign) => this.#takes('sign', sign))
      if (kind === undefined) return left
      const first = numberOf(left, column, `${kind} stands between numbers`)
      column = this.#next.column
      const right = numberOf(operand(), column, `${kind} stands between numbers`)
      left = { is: 'number', node: { kind, left: first, right } }
    }
  }

  #negative(): Node {
    if (!this.#takes('sign', '-')) return this.#primary()
    const { column } = this.#next
    const of = numberOf(
      this.#deeper(() => this.#negative()),
      column,
      '- stands before a number',
    )
    return { is: 'number', node: { kind: 'negative', of } }
  }

  #primary(): Node {
    const token = this.#next
    if (token.kind === 'number') {
      this.#at++
      return { is: 'number', node: { kind: 'number', value: token.value } }
    }
    if (this.#takes('sign', '(')) {
      const inner = this.#deeper(() => this.#or())
      this.#expect(')')
      return inner
    }
    if (token.kind !== 'name' || WORDS.some((word) => word === token.text)) {
      throw this.#unexpected('a number, a value or (')
    }
    this.#at++
    const called = FUNCTIONS.find((name) => name === token.text)
    if (called !== undefined) return { is: 'number', node: this.#call(called) }
    const name = VALUES.find((known) => known === token.text)
    if (name === undefined) throw unknownName(token)
    return { is: 'number', node: { kind: 'value', name } }
  }

  #call(kind: 'metric' | 'rate'): NumberNode {
    this.#expect('(')
    const name = this.#text(`the name of a metric in quotes, as ${kind}("istio_requests_total")`)
    const labels: [string, string][] = []
    if (this.#takes('sign', ',')) {
      this.#expect('{')
      while (!this.#isNext('sign', '}')) {
        if (labels.length > 0) this.#expect(',')
        const label = this.#next
        if (label.kind !== 'name') throw this.#unexpected('a label, as {process="proxy-0"}')
        this.#at++
        this.#expect('=')
        labels.push([label.text, this.#text('the value of a label in quotes')])
      }
      this.#expect('}')
    }
    this.#expect(')')
    return { kind, name, labels: Object.fromEntries(labels) }
  }

  get #next(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '', column: 1 }
  }

  #isNext(kind: Token['kind'], text: string): boolean {
    return this.#next.kind === kind && this.#next.text === text
  }

  #takes(kind: Token['kind'], text: string): boolean {
    if (!this.#isNext(kind, text)) return false
    this.#at++
    return true
  }

  #expect(sign: string): void {
    if (!this.#takes('sign', sign)) throw this.#unexpected(sign)
  }

  #text(wanted: string): string {
    const token = this.#next
    if (token.kind !== 'text') throw this.#unexpected(wanted)
    this.#at++
    return token.text
  }

  #deeper(read: () => Node): Node {
    if (++this.#depth > MAX_DEPTH) throw new Misread(this.#next.column, `is nested deeper than ${MAX_DEPTH} levels`)
    const node = read()
    this.#depth--
    return node
  }

  #unexpected(wanted: string): Misread {
    const { kind, text, column } = this.#next
    const got = kind === 'end' ? 'the end' : kind === 'text' ? `the text ${JSON.stringify(text)}` : JSON.stringify(text)
    return new Misread(column, `expected ${wanted}, got ${got}`)
  }
}

function unknownName({ text, column }: Token): Misread {
  const near = nearestName(text, [...VALUES, ...FUNCTIONS, ...WORDS])
  const hint =
    near === undefined ? `there are ${VALUES.join(', ')}, and metric("…") and rate("…")` : `did you mean ${near}?`
  return new Misread(column, `${JSON.stringify(text)} is not known; ${hint}`)
}

function conditionOf(found: Node, column: number, says: string): ConditionNode {
  if (found.is === 'condition') return found.node
  throw new Misread(column, `${says}; here is a number`)
}

function numberOf(found: Node, column: number, says: string): NumberNode {
  if (found.is === 'number') return found.node
  throw new Misread(column, `${says}; here is a condition`)
}
