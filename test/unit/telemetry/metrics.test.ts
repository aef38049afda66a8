import t from 'tap'
import { Metrics, mergeFamilies, renderPrometheus } from '#telemetry'

const GOLDEN = `# HELP shop_orders_total Orders, with a \\\\ and a\\nline break.
# TYPE shop_orders_total counter
shop_orders_total{kind="a \\"quoted\\" \\\\ value\\nwith break"} 3
shop_orders_total{kind="plain"} 1
# HELP shop_queue Waiting.
# TYPE shop_queue gauge
shop_queue 2.5
# HELP shop_wait_milliseconds Waits.
# TYPE shop_wait_milliseconds histogram
shop_wait_milliseconds_bucket{kind="plain",le="1"} 1
shop_wait_milliseconds_bucket{kind="plain",le="5"} 3
shop_wait_milliseconds_bucket{kind="plain",le="+Inf"} 4
shop_wait_milliseconds_sum{kind="plain"} 17
shop_wait_milliseconds_count{kind="plain"} 4
`

function shop(): Metrics {
  const metrics = new Metrics()
  const help = 'Orders, with a \\ and a\nline break.'
  const orders = metrics.counter({ name: 'shop_orders_total', help, labels: ['kind'] })
  orders.handle({ kind: 'a "quoted" \\ value\nwith break' }).inc(3)
  orders.handle({ kind: 'plain' }).inc(1)
  metrics.gauge({ name: 'shop_queue', help: 'Waiting.', labels: [] }).handle({}).set(2.5)
  const waits = metrics.histogram({ name: 'shop_wait_milliseconds', help: 'Waits.', labels: ['kind'], buckets: [1, 5] })
  const handle = waits.handle({ kind: 'plain' })
  for (const wait of [1, 1.5, 4.5, 10]) handle.observe(wait)
  return metrics
}

t.test('metrics render in the text format, escaped, with cumulative buckets', async (t) => {
  t.equal(renderPrometheus(shop().snapshot().families), GOLDEN)
})

t.test('the same label set gives the same handle, whatever the order of its names', async (t) => {
  const family = new Metrics().counter({ name: 'a_total', help: 'A.', labels: ['x', 'y'] })
  t.equal(family.handle({ x: '1', y: '2' }), family.handle({ y: '2', x: '1' }))
  t.not(family.handle({ x: '1', y: '2' }), family.handle({ x: '2', y: '1' }))
})

t.test('a name can be registered only once', async (t) => {
  const metrics = shop()
  t.throws(() => metrics.gauge({ name: 'shop_queue', help: 'Again.', labels: [] }), /shop_queue/)
})

t.test('label sets beyond the bound share one series that reads other, and are counted', async (t) => {
  const metrics = new Metrics()
  const family = metrics.counter({ name: 'busy_total', help: 'Busy.', labels: ['path'], maxSeries: 2 })
  for (let i = 0; i < 5; i++) family.handle({ path: `/${i}` }).inc(1)
  family.handle({ path: '/0' }).inc(1)
  const text = renderPrometheus(metrics.snapshot().families)
  t.match(text, 'busy_total{path="/0"} 2\nbusy_total{path="/1"} 1\nbusy_total{path="other"} 3\n')
  t.match(text, 'weir_metrics_overflow_total{family="busy_total"} 3\n')
})

t.test('answers of several proxies are added up by label set', async (t) => {
  const doubled = mergeFamilies([shop().snapshot(), JSON.parse(JSON.stringify(shop().snapshot()))])
  const text = renderPrometheus(doubled)
  t.match(text, 'shop_orders_total{kind="plain"} 2\n')
  t.match(text, 'shop_wait_milliseconds_bucket{kind="plain",le="5"} 6\n')
  t.match(text, 'shop_wait_milliseconds_sum{kind="plain"} 34\n')
  t.match(text, 'shop_wait_milliseconds_count{kind="plain"} 8\n')
})

t.test('merging leaves the answers as they were', async (t) => {
  const answer = shop().snapshot()
  const before = JSON.stringify(answer)
  mergeFamilies([answer, shop().snapshot()])
  t.equal(JSON.stringify(answer), before)
})

t.test('a family with other buckets is not added to the first one', async (t) => {
  const other = new Metrics()
  const options = { name: 'shop_wait_milliseconds', help: 'Waits.', labels: ['kind'], buckets: [2] } as const
  other.histogram(options).handle({ kind: 'plain' }).observe(1)
  const text = renderPrometheus(mergeFamilies([shop().snapshot(), other.snapshot()]))
  t.match(text, 'shop_wait_milliseconds_count{kind="plain"} 4\n')
})

t.test('values that are no number fall into the last bucket', async (t) => {
  const metrics = new Metrics()
  metrics
    .histogram({ name: 'h', help: 'H.', labels: [], buckets: [1] })
    .handle({})
    .observe(Number.NaN)
  t.match(renderPrometheus(metrics.snapshot().families), 'h_bucket{le="1"} 0\nh_bucket{le="+Inf"} 1\n')
})
