/**
 * What an expression says now. What is not known, or has no value (a division by zero), makes it unknown, unless the
 * rest decides without it: `false and unknown` is false (Kleene's three values).
 */
import { never } from '#base'
import type { ConditionNode, Labels, NumberNode, ValueName } from './expression.ts'

export interface KnownValues {
  value(name: ValueName): number | undefined
  metric(name: string, labels: Labels): number | undefined
  rate(name: string, labels: Labels): number | undefined
}

/** Undefined: unknown. */
export function evaluateCondition(node: ConditionNode, known: KnownValues): boolean | undefined {
  switch (node.kind) {
    case 'not': {
      const of = evaluateCondition(node.of, known)
      return of === undefined ? undefined : !of
    }
    case 'and':
    case 'or': {
      const left = evaluateCondition(node.left, known)
      const decides = node.kind === 'or'
      if (left === decides) return left
      const right = evaluateCondition(node.right, known)
      return right === decides ? right : left === undefined ? undefined : right
    }
    default: {
      const left = evaluateNumber(node.left, known)
      const right = evaluateNumber(node.right, known)
      return left === undefined || right === undefined ? undefined : compare(node.kind, left, right)
    }
  }
}

/** Always finite. */
export function evaluateNumber(node: NumberNode, known: KnownValues): number | undefined {
  const value = numberValue(node, known)
  return value === undefined || !Number.isFinite(value) ? undefined : value
}

function numberValue(node: NumberNode, known: KnownValues): number | undefined {
  switch (node.kind) {
    case 'number':
      return node.value
    case 'value':
      return known.value(node.name)
    case 'metric':
      return known.metric(node.name, node.labels)
    case 'rate':
      return known.rate(node.name, node.labels)
    case 'negative': {
      const of = evaluateNumber(node.of, known)
      return of === undefined ? undefined : -of
    }
    default: {
      const left = evaluateNumber(node.left, known)
      const right = evaluateNumber(node.right, known)
      return left === undefined || right === undefined ? undefined : calculate(node.kind, left, right)
    }
  }
}

function calculate(kind: '+' | '-' | '*' | '/', left: number, right: number): number {
  switch (kind) {
    case '+':
      return left + right
    case '-':
      return left - right
    case '*':
      return left * right
    case '/':
      return left / right
    default:
      return never(kind)
  }
}

function compare(kind: '<' | '<=' | '>' | '>=' | '==' | '!=', left: number, right: number): boolean {
  switch (kind) {
    case '<':
      return left < right
    case '<=':
      return left <= right
    case '>':
      return left > right
    case '>=':
      return left >= right
    case '==':
      return left === right
    case '!=':
      return left !== right
    default:
      return never(kind)
  }
}

/** The first value that a condition looks at: what people are shown beside it. */
export function firstValue(node: ConditionNode, known: KnownValues): number | undefined {
  switch (node.kind) {
    case 'not':
      return firstValue(node.of, known)
    case 'and':
    case 'or':
      return firstValue(node.left, known)
    default:
      return evaluateNumber(node.left, known)
  }
}

/** All metrics whose growth an expression looks at. */
export function ratesIn(node: ConditionNode | NumberNode): readonly Series[] {
  switch (node.kind) {
    case 'rate':
      return [node]
    case 'number':
    case 'value':
    case 'metric':
      return []
    case 'not':
    case 'negative':
      return ratesIn(node.of)
    default:
      return [...ratesIn(node.left), ...ratesIn(node.right)]
  }
}

/** Series of a metric, by labels that they have. */
export interface Series {
  readonly name: string
  readonly labels: Labels
}
