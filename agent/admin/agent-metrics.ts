/** The agent's own metrics: what it knows of itself, its proxies and its pods, taken when someone asks. */
import type { MetricsAnswer } from '#contract'
import type { ValueFamily, ValueHandle } from '#telemetry'
import { Metrics } from '#telemetry'
import { processCpuSeconds } from '../saturation/process-times.ts'
import type { AgentStatus } from './backend.ts'
import { certificateFamilies } from './certificate-metrics.ts'

export class AgentMetrics {
  readonly #metrics = new Metrics()
  readonly #enrolled: ValueHandle
  readonly #optedIn: ValueHandle
  readonly #worldVersion: ValueHandle
  readonly #problems: ValueHandle
  readonly #ready: ValueHandle
  readonly #build: ValueFamily<'version' | 'node_version'>
  readonly #proxyUp: ValueFamily<'proxy'>
  readonly #proxyRestarts: ValueFamily<'proxy'>
  readonly #lag: ValueFamily<'process'>
  readonly #rss: ValueFamily<'process'>
  readonly #cpu: ValueFamily<'process'>

  constructor() {
    const gauge = <L extends string>(name: string, help: string, labels: readonly L[]) =>
      this.#metrics.gauge({ name, help, labels })
    const counter = <L extends string>(name: string, help: string, labels: readonly L[]) =>
      this.#metrics.counter({ name, help, labels })
    this.#enrolled = gauge('weir_enrolled_pods', 'Pods of this node whose traffic is intercepted.', []).handle({})
    this.#optedIn = gauge('weir_opted_in_pods', 'Pods of this node that have opted in.', []).handle({})
    this.#worldVersion = gauge('weir_world_version', 'Version of the world that the agent holds.', []).handle({})
    this.#problems = gauge('weir_problems', 'Problems that the agent reports now.', []).handle({})
    this.#ready = gauge('weir_ready', '1 once every opted-in pod of this node is enrolled.', []).handle({})
    this.#build = gauge('weir_build_info', 'Always 1; the version is in the labels.', ['version', 'node_version'])
    this.#proxyUp = gauge('weir_proxy_up', '1 while the proxy is serving.', ['proxy'])
    this.#proxyRestarts = counter('weir_proxy_restarts_total', 'Times the proxy was started again.', ['proxy'])
    this.#lag = gauge(
      'weir_event_loop_lag_milliseconds',
      'Greatest event loop lag of a process within the last 10 to 20 seconds.',
      ['process'],
    )
    this.#rss = gauge('weir_process_resident_memory_bytes', 'Resident memory of a process.', ['process'])
    this.#cpu = counter('weir_process_cpu_seconds_total', 'User and system time of a process.', ['process'])
  }

  /** One more answer for `AdminBackend.metrics`, beside those of the proxies. */
  collect(status: AgentStatus): MetricsAnswer {
    this.#lag.handle({ process: 'agent' }).value = status.eventLoopLagMs
    this.#enrolled.value = status.enrolledPods
    this.#optedIn.value = status.optedInPods
    this.#worldVersion.value = status.worldVersion
    this.#problems.value = status.problems
    this.#ready.value = status.ready ? 1 : 0
    this.#build.handle({ version: status.version, node_version: process.version }).value = 1
    this.#rss.handle({ process: 'agent' }).value = process.memoryUsage.rss()
    const { user, system } = process.cpuUsage()
    this.#cpu.handle({ process: 'agent' }).value = (user + system) / 1e6
    for (const proxy of status.proxies) {
      const name = `proxy-${proxy.id}`
      this.#proxyUp.handle({ proxy: name }).value = proxy.state === 'up' ? 1 : 0
      this.#proxyRestarts.handle({ proxy: name }).value = proxy.restarts
      this.#lag.handle({ process: name }).value = proxy.eventLoopLagMs
      this.#rss.handle({ process: name }).value = proxy.rssBytes
      this.#cpu.handle({ process: name }).value = processCpuSeconds(proxy.pid) ?? 0
    }
    return { families: [...this.#metrics.snapshot().families, ...certificateFamilies(status)] }
  }
}
