/** Families as Prometheus reads them: text exposition format 0.0.4. */
import type { MetricFamily, MetricSeries } from '#contract'

export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Families without a series are left out. Buckets come out cumulative, with +Inf, `_sum` and `_count`. */
export function renderPrometheus(families: readonly MetricFamily[]): string {
  const out: string[] = []
  for (const family of families) {
    if (family.series.length === 0) continue
    out.push(`# HELP ${family.name} ${escapeHelp(family.help)}\n# TYPE ${family.name} ${family.type}\n`)
    for (const series of family.series) {
      if (family.type === 'histogram') renderHistogram(out, family, series)
      else out.push(`${family.name}${renderLabels(series.labels)} ${renderNumber(series.values[0] ?? 0)}\n`)
    }
  }
  return out.join('')
}

function renderHistogram(out: string[], family: MetricFamily, series: MetricSeries): void {
  const bounds = family.buckets ?? []
  const labels = labelPairs(series.labels)
  const prefix = labels === '' ? '{le="' : `{${labels},le="`
  let count = 0
  bounds.forEach((bound, index) => {
    count += series.values[index] ?? 0
    out.push(`${family.name}_bucket${prefix}${renderNumber(bound)}"} ${renderNumber(count)}\n`)
  })
  count += series.values[bounds.length] ?? 0
  const braces = labels === '' ? '' : `{${labels}}`
  out.push(`${family.name}_bucket${prefix}+Inf"} ${renderNumber(count)}\n`)
  out.push(`${family.name}_sum${braces} ${renderNumber(series.values[bounds.length + 1] ?? 0)}\n`)
  out.push(`${family.name}_count${braces} ${renderNumber(count)}\n`)
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = labelPairs(labels)
  return pairs === '' ? '' : `{${pairs}}`
}

function labelPairs(labels: Readonly<Record<string, string>>): string {
  let text = ''
  for (const name in labels) {
    const value = labels[name] ?? ''
    // An empty label is the same as none, to Prometheus.
    if (value !== '') text += `${text === '' ? '' : ','}${name}="${escapeLabel(value)}"`
  }
  return text
}

function escapeLabel(value: string): string {
  return /["\\\n]/.test(value) ? value.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n') : value
}

function escapeHelp(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')
}

function renderNumber(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf'
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value)
}
