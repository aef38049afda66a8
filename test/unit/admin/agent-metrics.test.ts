import t from 'tap'
import { renderPrometheus } from '#telemetry'
import { AgentMetrics } from '../../../agent/admin/agent-metrics.ts'
import type { AgentStatus } from '../../../agent/admin/backend.ts'
import { FakeBackend } from './fake-backend.ts'

t.test('the agent tells its pods, its world, its build and each process', async (t) => {
  const status = await new FakeBackend().status()
  const [proxy] = status.proxies
  if (proxy === undefined) throw new Error('The fake backend has no proxy')
  const proxies = [
    { ...proxy, pid: process.pid },
    { ...proxy, id: 1, pid: 0, state: 'down' as const, restarts: 2 },
  ]
  const metrics = new AgentMetrics()
  metrics.collect(status)
  const text = renderPrometheus(metrics.collect({ ...status, problems: 3, proxies }).families)
  const expected = [
    'weir_enrolled_pods 1\n',
    'weir_opted_in_pods 1\n',
    'weir_world_version 1\n',
    'weir_problems 3\n',
    'weir_ready 1\n',
    `weir_build_info{version="0.1.0",node_version="${process.version}"} 1\n`,
    'weir_proxy_up{proxy="proxy-0"} 1\n',
    'weir_proxy_up{proxy="proxy-1"} 0\n',
    'weir_proxy_restarts_total{proxy="proxy-1"} 2\n',
    `weir_process_resident_memory_bytes{process="proxy-0"} ${60 << 20}\n`,
    'weir_process_cpu_seconds_total{process="proxy-1"} 0\n',
    'weir_certificate_expiry_timestamp_seconds{identity="spiffe://cluster.local/ns/shop/sa/web"} 42410\n',
    'weir_certificate_failures_total 4\n',
  ]
  for (const line of expected) t.ok(text.includes(line), line)
  const cpu = /weir_process_cpu_seconds_total\{process="proxy-0"\} ([\d.]+)\n/.exec(text)
  t.ok(Number(cpu?.[1]) > 0, 'CPU time of a live process is read')
  t.match(text, /weir_process_resident_memory_bytes\{process="agent"\} \d{7,}\n/)
})

t.test('identities that are gone leave no series, and those without a certificate have none', async (t) => {
  const status = await new FakeBackend().status()
  const metrics = new AgentMetrics()
  const series = (identities: AgentStatus['identities']) =>
    metrics
      .collect({ ...status, identities })
      .families.find(({ name }) => name === 'weir_certificate_expiry_timestamp_seconds')?.series.length
  const [web] = status.identities
  if (web === undefined) throw new Error('The fake backend has no identity')
  const many = Array.from({ length: 1500 }, (_, i) => ({ ...web, spiffeId: `${web.spiffeId}-${i}` }))
  t.strictSame([series(many), series([web]), series([{ ...web, notAfterMs: 0 }]), series([])], [1000, 1, 0, 0])
})
