/** One view of several proxies: values of equal family and label set are added up. */
import type { MetricFamily, MetricsAnswer } from '#contract'
import { labelKey } from './metrics.ts'

interface Merging {
  readonly family: MetricFamily
  readonly series: Map<string, { readonly labels: Readonly<Record<string, string>>; readonly values: number[] }>
}

/**
 * Gauges are added too (connections, bytes): one that must not be carries a label that tells the processes apart.
 * A family whose type or buckets differ from the first answer's is left out, for its numbers cannot be added.
 */
export function mergeFamilies(answers: readonly MetricsAnswer[]): MetricFamily[] {
  const byName = new Map<string, Merging>()
  for (const answer of answers) {
    for (const family of answer.families) {
      const known = byName.get(family.name)
      if (known === undefined) byName.set(family.name, addSeries({ family, series: new Map() }, family))
      else if (sameShape(known.family, family)) addSeries(known, family)
    }
  }
  return Array.from(byName.values(), ({ family, series }) => ({ ...family, series: Array.from(series.values()) }))
}

function addSeries(into: Merging, family: MetricFamily): Merging {
  for (const { labels, values } of family.series) {
    const key = labelKey(labels)
    const known = into.series.get(key)
    if (known === undefined) into.series.set(key, { labels, values: Array.from(values) })
    else {
      values.forEach((value, index) => {
        known.values[index] = (known.values[index] ?? 0) + value
      })
    }
  }
  return into
}

function sameShape(a: MetricFamily, b: MetricFamily): boolean {
  if (a.type !== b.type || a.buckets?.length !== b.buckets?.length) return false
  return a.buckets === undefined || a.buckets.every((bound, index) => bound === b.buckets?.[index])
}
