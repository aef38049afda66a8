/**
 * Expressions of alert rules: any text is a condition or is refused, with a column inside it; whatever is known, a condition
 * is true, false or unknown; parentheses and spaces put around it change nothing.
 */
import { evaluateCondition, type KnownValues, ratesIn } from '../../../src/observer/alerts/evaluate-expression.ts'
import { MAX_EXPRESSION_LENGTH, parseExpression } from '../../../src/observer/alerts/expression.ts'
import { Choices } from '../choices.ts'
import { type FuzzTarget, rule } from '../target.ts'

const NUMBERS = [0, 1, 0.5, 100, -1, 1e300, Number.NaN, Number.POSITIVE_INFINITY]

function knownBy(choices: Choices): KnownValues {
  const kept = new Map<string, number | undefined>()
  const of = (key: string) => {
    if (!kept.has(key)) kept.set(key, choices.below(9) === 8 ? undefined : choices.pick(NUMBERS))
    return kept.get(key)
  }
  return {
    value: (name) => of(name),
    metric: (name, labels) => of(`metric ${name} ${JSON.stringify(labels)}`),
    rate: (name, labels) => of(`rate ${name} ${JSON.stringify(labels)}`),
  }
}

export const alertExpressions: FuzzTarget = {
  name: 'alert-expressions',
  dictionary: [
    'errors',
    'requests',
    'errorRate',
    'p99',
    'lag',
    'metric("up", {process="proxy-0"})',
    'rate("istio_requests_total")',
    ' and ',
    ' or ',
    'not ',
    '((((((((',
    '))))))))',
    '>=',
    '==',
    '!=',
    '5%',
    '500ms',
    '1.5h',
    '"',
    '{}',
    '--',
    '999999999999999999999',
  ],
  maxBytes: MAX_EXPRESSION_LENGTH + 8,
  run(input) {
    const source = input.toString('utf8')
    const parsed = parseExpression(source)
    if (parsed.kind === 'error') {
      const { column, message } = parsed.error
      rule(message !== '' && !message.includes('\n'), () => 'refused without a word, or with many lines')
      rule(column >= 1 && column <= source.length + 1, () => `column ${column} of ${source.length}`)
      return message.replace(/".*"/s, '').slice(0, 30)
    }
    const known = knownBy(new Choices(input))
    const said = evaluateCondition(parsed.condition, known)
    rule(said === undefined || typeof said === 'boolean', () => `says ${String(said)}`)
    rule(ratesIn(parsed.condition).length <= source.length, () => 'more rates than text')
    const wider = parseExpression(` ( ${source}\n) `)
    const isRoom = source.length + 6 <= MAX_EXPRESSION_LENGTH
    if (wider.kind === 'expression') {
      rule(
        JSON.stringify(wider.condition) === JSON.stringify(parsed.condition),
        () => 'means something else in parentheses',
      )
    } else {
      const isTooDeep = wider.error.message.startsWith('is nested')
      rule(!isRoom || isTooDeep, () => `is refused in parentheses: ${wider.error.message}`)
    }
    return `${parsed.condition.kind} ${String(said)}`
  },
}
