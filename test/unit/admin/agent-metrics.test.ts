import t from 'tap'
import { renderPrometheus } from '#telemetry'
import { AgentMetrics } from '../../../agent/admin/agent-metrics.ts'
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
  ]
  for (const line of expected) t.ok(text.includes(line), line)
  const cpu = /weir_process_cpu_seconds_total\{process="proxy-0"\} ([\d.]+)\n/.exec(text)
  t.ok(Number(cpu?.[1]) > 0, 'CPU time of a live process is read')
  t.match(text, /weir_process_resident_memory_bytes\{process="agent"\} \d{7,}\n/)
})
