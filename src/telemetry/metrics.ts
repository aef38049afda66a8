/**
 * Counters, gauges and histograms for the hot path. A label set is resolved once, into a handle that the caller
 * keeps; counting is then one addition on a field. Every family is bounded: label sets beyond the bound share one
 * series whose labels all read `other`, so that what a client sends can never grow the tables.
 */
import type { MetricFamily, MetricSeries, MetricsAnswer } from '#contract'

export const MAX_SERIES_DEFAULT = 2000

type Labels<L extends string> = Readonly<Record<L, string>>
type AnyLabels = Readonly<Record<string, string>>

/** One value. `value` may be written directly; a counter must only grow. */
export class ValueHandle {
  readonly labels: AnyLabels
  value = 0

  constructor(labels: AnyLabels) {
    this.labels = labels
  }

  inc(amount: number): void {
    this.value += amount
  }

  set(value: number): void {
    this.value = value
  }
}

/** Index of the bucket that `value` falls into; `bounds.length` stands for +Inf (also for NaN). */
export function bucketOf(bounds: readonly number[], value: number): number {
  const length = bounds.length
  let index = 0
  while (index < length && !(value <= (bounds[index] ?? 0))) index++
  return index
}

/** Counts per bucket, not cumulative; the last two slots are +Inf and the sum. */
export class HistogramHandle {
  readonly labels: AnyLabels
  readonly bounds: readonly number[]
  readonly slots: Float64Array

  constructor(labels: AnyLabels, bounds: readonly number[]) {
    this.labels = labels
    this.bounds = bounds
    this.slots = new Float64Array(bounds.length + 2)
  }

  observe(value: number): void {
    this.observeAt(bucketOf(this.bounds, value), value)
  }

  /** For callers that feed several histograms of equal bounds: the bucket is looked up once (`bucketOf`). */
  observeAt(bucket: number, value: number): void {
    const slots = this.slots
    slots[bucket] = (slots[bucket] ?? 0) + 1
    const sum = slots.length - 1
    slots[sum] = (slots[sum] ?? 0) + value
  }
}

export interface FamilyOptions<L extends string> {
  /** Ends in its unit: `_total`, `_bytes`, `_seconds`, … */
  readonly name: string
  readonly help: string
  readonly labels: readonly L[]
  /** Series beyond this share the overflow series. Default 2 000. */
  readonly maxSeries?: number
}

/** The handles of one family. A label named in the family is compulsory; labels it does not name may be added. */
export class Family<L extends string, H extends { readonly labels: AnyLabels }> {
  readonly name: string
  readonly help: string
  readonly type: MetricFamily['type']
  readonly buckets: readonly number[] | undefined
  readonly #labelNames: readonly L[]
  readonly #maxSeries: number
  readonly #create: (labels: AnyLabels) => H
  readonly #onOverflow: () => void
  readonly #handles = new Map<string, H>()
  #overflow: H | undefined

  constructor(
    type: MetricFamily['type'],
    options: FamilyOptions<L>,
    buckets: readonly number[] | undefined,
    create: (labels: AnyLabels) => H,
    onOverflow: () => void,
  ) {
    this.name = options.name
    this.help = options.help
    this.type = type
    this.buckets = buckets
    this.#labelNames = options.labels
    this.#maxSeries = options.maxSeries ?? MAX_SERIES_DEFAULT
    this.#create = create
    this.#onOverflow = onOverflow
  }

  /** Not for the hot path: keep what it returns. The same label set always gives the same handle. */
  handle(labels: Labels<L>): H {
    const key = labelKey(labels)
    const known = this.#handles.get(key)
    if (known !== undefined) return known
    if (this.#handles.size >= this.#maxSeries) return this.#overflowed()
    const made = this.#create(labels)
    this.#handles.set(key, made)
    return made
  }

  #overflowed(): H {
    this.#onOverflow()
    if (this.#overflow === undefined) {
      const labels: Record<string, string> = {}
      for (const name of this.#labelNames) labels[name] = 'other'
      this.#overflow = this.#create(labels)
    }
    return this.#overflow
  }

  snapshot(values: (handle: H) => number[]): MetricFamily {
    const series: MetricSeries[] = []
    for (const handle of this.#handles.values()) series.push({ labels: handle.labels, values: values(handle) })
    if (this.#overflow !== undefined) series.push({ labels: this.#overflow.labels, values: values(this.#overflow) })
    const head = { name: this.name, help: this.help, type: this.type, series }
    return this.buckets === undefined ? head : { ...head, buckets: this.buckets }
  }
}

/** An unambiguous key of a label set, whatever the order of its names and the bytes of its values. */
export function labelKey(labels: AnyLabels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
}

export type ValueFamily<L extends string> = Family<L, ValueHandle>
export type HistogramFamily<L extends string> = Family<L, HistogramHandle>

/** All families of one process. Names are unique: asking twice for one is a bug and throws. */
export class Metrics {
  readonly #snapshots = new Map<string, () => MetricFamily>()
  readonly #overflows: ValueFamily<'family'>

  constructor() {
    this.#overflows = this.counter({
      name: 'weir_metrics_overflow_total',
      help: 'Label sets refused because their family was full; they are counted under labels that read other.',
      labels: ['family'],
    })
  }

  counter<L extends string>(options: FamilyOptions<L>): ValueFamily<L> {
    return this.#values('counter', options)
  }

  gauge<L extends string>(options: FamilyOptions<L>): ValueFamily<L> {
    return this.#values('gauge', options)
  }

  /** `buckets`: ascending upper bounds, without +Inf. */
  histogram<L extends string>(options: FamilyOptions<L> & { readonly buckets: readonly number[] }): HistogramFamily<L> {
    const bounds = options.buckets
    const create = (labels: AnyLabels) => new HistogramHandle(labels, bounds)
    const family = new Family<L, HistogramHandle>('histogram', options, bounds, create, this.#overflowOf(options.name))
    this.#add(options.name, () => family.snapshot((handle) => Array.from(handle.slots)))
    return family
  }

  /** @param only families of these names; absent: all */
  snapshot(only?: ReadonlySet<string>): MetricsAnswer {
    const families: MetricFamily[] = []
    for (const [name, take] of this.#snapshots) if (only === undefined || only.has(name)) families.push(take())
    return { families }
  }

  #values<L extends string>(type: 'counter' | 'gauge', options: FamilyOptions<L>): ValueFamily<L> {
    const create = (labels: AnyLabels) => new ValueHandle(labels)
    const family = new Family<L, ValueHandle>(type, options, undefined, create, this.#overflowOf(options.name))
    this.#add(options.name, () => family.snapshot((handle) => [handle.value]))
    return family
  }

  #overflowOf(family: string): () => void {
    return () => this.#overflows.handle({ family }).inc(1)
  }

  #add(name: string, take: () => MetricFamily): void {
    if (this.#snapshots.has(name)) throw new Error(`Register metric ${name}: the name is already taken`)
    this.#snapshots.set(name, take)
  }
}
