/** Counters of two looks → what went on between them, per edge. */
import t from 'tap'
import type { MetricFamily } from '#contract'
import { EdgeGrowth } from '#observer'

interface Series {
  readonly from?: string
  readonly to?: string
  readonly service?: string
  readonly reporter?: string
  readonly code?: string
  readonly flag?: string
  readonly version?: string
  readonly value: number
  readonly ms?: number
}

function requests(...series: readonly Series[]): MetricFamily[] {
  const labelled = series.map(({ from = 'a', to = 'b', service = 'b', reporter = 'source', ...one }) => ({
    labels: {
      reporter,
      source_workload: from,
      source_workload_namespace: 'shop',
      destination_workload: to,
      destination_workload_namespace: 'shop',
      destination_service_name: service,
      destination_service_namespace: 'shop',
      destination_version: one.version ?? 'v1',
      response_code: one.code ?? '200',
      response_flags: one.flag ?? '-',
    },
    one,
  }))
  return [
    {
      name: 'istio_requests_total',
      help: '',
      type: 'counter',
      series: labelled.map(({ labels, one }) => ({ labels, values: [one.value] })),
    },
    {
      name: 'istio_request_duration_milliseconds',
      help: '',
      type: 'histogram',
      buckets: [1],
      series: labelled.map(({ labels, one }) => ({ labels, values: [one.value, 0, one.ms ?? 0] })),
    },
  ]
}

/** Of one proxy. */
class Grown {
  readonly #growth = new EdgeGrowth()

  grown(families: readonly MetricFamily[], process = 'a') {
    return this.#growth.grown([{ process, families }], new Set(['a', 'b']))
  }
}

const EDGE = { source: 'shop/a', destination: 'shop/b', service: 'shop/b' }

t.test('nothing at the first look; then what came since, with what failed and why', async (t) => {
  const growth = new Grown()
  t.same(growth.grown(requests({ value: 10, ms: 100 })), [])
  const grown = growth.grown(
    requests(
      { value: 15, ms: 160 },
      { value: 2, code: '503', flag: 'UF' },
      { value: 3, code: '500' },
      { value: 4, code: '403', flag: 'RBAC' },
      { value: 1, code: '0', flag: 'DC' },
      { value: 7, code: '404' },
    ),
  )
  t.same(grown, [
    { edge: EDGE, requests: 22, failed: 5, denied: 4, reasons: { 'UF 503': 2, '- 500': 3 }, durationMs: 60 },
  ])
})

t.test('series that differ in what is not asked are one; one that begins in between counts whole', async (t) => {
  const growth = new Grown()
  growth.grown(requests({ value: 10 }, { value: 5, version: 'v2' }))
  const [one] = growth.grown(requests({ value: 11 }, { value: 8, version: 'v2' }, { value: 2, version: 'v3' }))
  t.equal(one?.requests, 6)
})

t.test('a proxy that is started again counts from nothing, and makes no burst', async (t) => {
  const growth = new EdgeGrowth()
  const look = (process: string, value: number) => {
    return growth.grown([{ process, families: requests({ value }) }], new Set([process]))[0]?.requests
  }
  look('0:100', 1_000_000)
  t.equal(look('0:101', 4), 4)
  t.equal(look('0:101', 7), 3)
})

t.test('what a proxy counted while it gave no answer is told when it answers again, and no more', async (t) => {
  const growth = new EdgeGrowth()
  const alive = new Set(['a', 'b'])
  const a = { process: 'a', families: requests({ value: 1000 }) }
  growth.grown([a, { process: 'b', families: requests({ value: 500 }) }], alive)
  t.same(growth.grown([a], alive), [])
  t.equal(growth.grown([a, { process: 'b', families: requests({ value: 520 }) }], alive)[0]?.requests, 20)
})

t.test('an edge is told once, by its source where that is here', async (t) => {
  const growth = new Grown()
  growth.grown([])
  const grown = growth.grown(
    requests({ value: 3 }, { value: 3, reporter: 'destination' }, { value: 4, from: 'x', reporter: 'destination' }),
  )
  t.same(
    grown.map(({ edge, requests: count }) => [edge.source, count]),
    [
      ['shop/x', 4],
      ['shop/a', 3],
    ],
  )
})

t.test('names are shared from look to look', async (t) => {
  const growth = new Grown()
  growth.grown(requests({ value: 1 }))
  const [first] = growth.grown(requests({ value: 2 }))
  const [second] = growth.grown(requests({ value: 3 }))
  t.equal(first?.edge, second?.edge)
})

t.test('a namespace that calls a thousand names crowds out no edge of another', async (t) => {
  const growth = new EdgeGrowth()
  const alive = new Set(['1'])
  const count = (value: number) => {
    const many = Array.from({ length: 1000 }, (_, i) => ({ service: `s${i}`, value: value * 10 }))
    const families = requests(...many, { service: 'victim', value })
    for (const { series } of families) {
      const own = series.at(-1)?.labels
      if (own !== undefined) Object.assign(own, { source_workload_namespace: 'bank' })
    }
    return growth.grown([{ process: '1', families }], alive)
  }
  count(1)
  const told = count(2)
  t.equal(told.length, 500)
  t.ok(told.some(({ edge }) => edge.source === 'bank/a'))
})
