import t from 'tap'
import type { Pod } from '../../../src/proxy/pod.ts'
import { PodUse, PodUseFamilies } from '../../../src/proxy/pod-use.ts'

/** As far as its use is concerned. */
function pod(workload: string): Pod {
  return { workload, use: new PodUse(), connections: new Set(), requestsInFlight: 0 } as unknown as Pod
}

const valuesOf = (families: ReturnType<PodUseFamilies['collect']>, name: string) =>
  Object.fromEntries(
    (families.find((family) => family.name === name)?.series ?? []).map(({ labels, values }) => [
      `${labels['namespace']}/${labels['pod']}`,
      values[0],
    ]),
  )

t.test('CPU time is dealt out by the work since it was dealt out last', async (t) => {
  const [a, b] = [pod('shop/a'), pod('shop/b')]
  const families = new PodUseFamilies()
  a.use.requests = 30
  b.use.bytesOut = 10 * 65_536
  const cpu = (seconds: number) => valuesOf(families.collect([a, b], seconds), 'weir_pod_cpu_seconds_total')
  t.same(cpu(4), { 'shop/a': 3, 'shop/b': 1 })
  t.same(cpu(5), { 'shop/a': 3, 'shop/b': 1 }, 'what nobody caused is nobody’s')
  b.use.requests = 5
  t.same(cpu(7), { 'shop/a': 3, 'shop/b': 3 })
})

t.test('series are bounded, the rest is told together, and goes with its pods', async (t) => {
  const pods = Array.from({ length: 600 }, (_, i) => pod(`shop/p${i}`))
  for (const one of pods) one.use.requests = 1
  const families = new PodUseFamilies()
  const requests = valuesOf(families.collect(pods, 0), 'weir_pod_requests_total')
  t.equal(Object.keys(requests).length, 513)
  t.equal(requests['other/other'], 88)
  t.same(valuesOf(families.collect([], 0), 'weir_pod_requests_total'), {})
})
