/** The agent's own metrics: a handful of counters with few labels. */
import type { MetricFamily } from '#contract'

const COUNTERS = {
  weir_enrolment_repairs_total: 'Rules, routes and listeners of enrolled pods found missing and restored.',
  weir_enrolment_failures_total: 'Attempts to enrol, change or check a pod that failed.',
  weir_cni_requests_total: 'What the CNI plugin asked, by command and outcome.',
} as const

export type CounterName = keyof typeof COUNTERS

export class AgentCounters {
  readonly #series = new Map<CounterName, Map<string, { labels: Readonly<Record<string, string>>; value: number }>>()

  add(name: CounterName, labels: Readonly<Record<string, string>> = {}, by = 1): void {
    const series = this.#series.get(name) ?? new Map()
    this.#series.set(name, series)
    const key = JSON.stringify(labels)
    const entry = series.get(key) ?? { labels, value: 0 }
    entry.value += by
    series.set(key, entry)
  }

  /** Sum over all labels. */
  total(name: CounterName): number {
    return [...(this.#series.get(name)?.values() ?? [])].reduce((sum, { value }) => sum + value, 0)
  }

  families(): readonly MetricFamily[] {
    return Object.entries(COUNTERS).map(([name, help]) => ({
      name,
      help,
      type: 'counter',
      series: [...(this.#series.get(name as CounterName)?.values() ?? [])].map(({ labels, value }) => ({
        labels,
        values: [value],
      })),
    }))
  }
}
