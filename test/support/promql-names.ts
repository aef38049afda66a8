/** What a PromQL expression asks for: metrics, and the labels that it names. Enough of the grammar for boards of ours. */

export interface AskedMetric {
  readonly name: string
  /** In its matchers, in groupings around it, and in `on`. */
  readonly labels: readonly string[]
}

const GROUPING = /\b(?:by|without|on|ignoring)\s*\(([^()]*)\)/g
const WORDS = new Set(['and', 'or', 'unless', 'bool', 'offset', 'group_left', 'group_right', 'inf', 'nan'])

export function askedMetrics(expression: string): readonly AskedMetric[] {
  const grouped = [...expression.matchAll(GROUPING)].flatMap(([, names = '']) => listOf(names))
  const bare = expression
    .replace(GROUPING, ' ')
    .replace(/\[[^\]]*\]/g, ' ')
    // A label's name may be a metric's: matchers are taken with the metric before them.
    .replace(/"(?:[^"\\]|\\.)*"/g, '""')
  const metrics: AskedMetric[] = []
  for (const [, name = '', matchers, call] of bare.matchAll(/([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?\s*(\()?/g)) {
    if (call !== undefined || WORDS.has(name)) continue
    const own = listOf(matchers ?? '').map((matcher) => matcher.replace(/\s*(?:=~|!~|!=|=).*$/, ''))
    metrics.push({ name, labels: [...own, ...grouped] })
  }
  return metrics
}

function listOf(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
