/**
 * Runs the health checks of the Services that pods of this proxy send requests to: for each calling service account its
 * own, by the way that its requests take. So many at a time and a second, whatever is asked for.
 */
import type { CheckedEndpoint, HealthCheck, HttpFacts, MeshService, UnhealthyEndpoint } from '#contract'
import type { Snapshot } from '#mesh'
import { authorize } from '#policy'
import { observeCheck } from '#routing'
import type { Metrics } from '#telemetry'
import type { HealthUse } from '../endpoint-choice.ts'
import type { ExchangeTarget } from '../exchange-target.ts'
import type { Pod } from '../pod.ts'
import type { Targets } from '../targets.ts'
import { EndpointCheck } from './endpoint-check.ts'
import { HealthMetrics } from './health-metrics.ts'
import { endpointKey, HealthView } from './health-view.ts'
import { type ProbeResult, ProbeRun } from './probe-run.ts'

/** Of one proxy: checks in progress, and the time between the starts of two. */
const MAX_IN_PROGRESS = 64
const PACE_MS = 10
/** Checks that one proxy has in all; endpoints beyond are taken for healthy. */
const MAX_CHECKS = 8192
/** Nobody has sent a request there for so long: it is checked again from the next one on. */
const IDLE_MS = 300_000
/** Likewise where the pod that sent the last one is going. */
const ORPHANED_MS = 10_000
/** The first check comes within this, so that those of many endpoints do not come at once. */
const FIRST_MS = 1_000

export interface HealthHost {
  readonly snapshot: Snapshot
  readonly targets: Pick<Targets, 'outbound'>
  readonly limits: { readonly maxHeadBytes: number; readonly maxHeaders: number }
  now(): number
  errorText(status: number): string
}

export class HealthChecks {
  readonly #host: HealthHost
  readonly #metrics: HealthMetrics
  readonly #onChange: (healthy: boolean, endpoint: CheckedEndpoint) => void
  /** By source, Service and port. */
  readonly #views = new Map<string, HealthView>()
  readonly #due: EndpointCheck[] = []
  #count = 0
  #inProgress = 0
  #nextStart = 0
  #timer: NodeJS.Timeout | undefined

  constructor(host: HealthHost, metrics: Metrics, onChange: (healthy: boolean, endpoint: CheckedEndpoint) => void) {
    this.#host = host
    this.#metrics = new HealthMetrics(metrics)
    this.#onChange = onChange
  }

  /** Undefined where nothing is checked. @param source `namespace/name` of the pod's service account */
  useOf(pod: Pod, source: string, service: MeshService, port: number): HealthUse | undefined {
    const name = `${service.namespace}/${service.name}`
    if (this.#checksOf(name).length === 0) return undefined
    return { view: (now) => this.#used(pod, source, name, port, now) }
  }

  #used(pod: Pod, source: string, service: string, port: number, now: number): HealthView {
    const key = `${source} ${service}:${port}`
    let view = this.#views.get(key)
    if (view === undefined) {
      view = new HealthView(service, port, source, pod, now)
      this.#views.set(key, view)
      this.#follow(view)
    }
    view.pod = pod
    view.usedAt = now
    return view
  }

  #checksOf(service: string): readonly HealthCheck[] {
    return this.#host.snapshot.trafficPolicy(service)?.healthChecks ?? []
  }

  /** The world has changed: what is gone is checked no more, and what is under way there is dropped. */
  follow(): void {
    for (const view of this.#views.values()) this.#follow(view)
    // What was dropped has made room.
    this.#pump()
  }

  #follow(view: HealthView): void {
    const { snapshot } = this.#host
    const endpoints = snapshot.service(view.service)?.endpoints[view.port] ?? []
    const wanted = this.#checksOf(view.service)
    const staying = new Map(
      endpoints.filter(({ ready, terminating }) => ready && !terminating).map((one) => [endpointKey(one), one]),
    )
    for (const [key, checks] of view.checks) {
      const endpoint = staying.get(key)
      const same = endpoint !== undefined && this.#uidOf(endpoint) === checks[0]?.uid && isSame(checks, wanted)
      if (!same) this.#drop(view, key, checks)
    }
    for (const [key, endpoint] of staying) {
      if (view.checks.has(key) || wanted.length === 0) continue
      if (this.#count + wanted.length > MAX_CHECKS) {
        this.#metrics.skipped(view)
        continue
      }
      const uid = this.#uidOf(endpoint)
      const checks = wanted.map((check) => new EndpointCheck(view, endpoint, uid, check))
      this.#count += checks.length
      view.checks.set(key, checks)
      for (const one of checks)
        one.after(Math.random() * Math.min(FIRST_MS, one.check.intervalMs), () => this.#isDue(one))
    }
  }

  #uidOf({ workload }: { readonly workload?: string }): string {
    return workload === undefined ? '' : (this.#host.snapshot.workload(workload)?.uid ?? '')
  }

  #drop(view: HealthView, key: string, checks: readonly EndpointCheck[]): void {
    for (const check of checks) {
      if (check.run !== undefined) this.#inProgress--
      check.stop()
    }
    this.#count -= checks.length
    view.checks.delete(key)
    if (view.judge(key)) this.#metrics.unhealthy(view)
  }

  /** What nobody uses, or whose pod is gone, is forgotten. */
  sweep(now: number): void {
    for (const [key, view] of this.#views) {
      const idleMs = view.pod.draining ? ORPHANED_MS : IDLE_MS
      if (now - view.usedAt < idleMs && view.checks.size > 0) continue
      for (const [endpoint, checks] of view.checks) this.#drop(view, endpoint, checks)
      this.#views.delete(key)
    }
  }

  unhealthy(): readonly UnhealthyEndpoint[] {
    const now = this.#host.now()
    return [...this.#views.values()].flatMap((view) => view.list(now))
  }

  close(): void {
    clearTimeout(this.#timer)
    for (const view of this.#views.values()) for (const [key, checks] of view.checks) this.#drop(view, key, checks)
    this.#views.clear()
  }

  #isDue(check: EndpointCheck): void {
    this.#due.push(check)
    this.#pump()
  }

  /** Starts what is due, as far as its bounds allow. */
  #pump(): void {
    const now = this.#host.now()
    while (this.#inProgress < MAX_IN_PROGRESS && now >= this.#nextStart) {
      const check = this.#due.shift()
      if (check === undefined) return
      if (check.stopped) continue
      this.#nextStart = now + PACE_MS
      this.#start(check)
    }
    if (this.#due.length === 0 || this.#timer !== undefined || this.#inProgress >= MAX_IN_PROGRESS) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#pump()
    }, this.#nextStart - now)
  }

  #start(check: EndpointCheck): void {
    const { view, endpoint } = check
    if (view.pod.draining) {
      // Its sockets go with it; another pod of the account may come by meanwhile.
      check.after(check.check.intervalMs, () => this.#isDue(check))
      return
    }
    const { probe, timeoutMs } = check.check
    const { snapshot, targets, limits } = this.#host
    const service = snapshot.service(view.service)
    const client = snapshot.workload(view.pod.workload)
    const six = endpoint.address.includes(':')
    const address = client?.addresses.find((one) => one.includes(':') === six) ?? client?.addresses[0] ?? ''
    // Bytes of no protocol that the mesh knows are sent as they are, to a backend of TLS, too.
    const tlsPort = probe.type === 'TCP' ? undefined : view.port
    const key = `check ${view.service}:${view.port} ${probe.type}`
    const target = targets.outbound(view.pod, address, key, endpoint, service, undefined, tlsPort)
    const authority = (probe.type === 'TCP' ? undefined : probe.host) ?? view.service.split('/').reverse().join('.')
    const denial = denialOf(target, check, authority)
    if (denial !== undefined) {
      this.#ended(check, { kind: 'denied', why: denial })
      return
    }
    const protocol = service?.ports.find(({ port }) => port === view.port)?.protocol
    this.#inProgress++
    const run = new ProbeRun(
      {
        probe,
        dialer: target.pool.dialer,
        timeoutMs,
        authority,
        identityLines: target.identityLines,
        identityFields: target.identityFields,
        tunnelled: target.tunnelled,
        http2: protocol === 'http2' || protocol === 'grpc',
        maxHeadBytes: limits.maxHeadBytes,
        maxHeaders: limits.maxHeaders,
        errorText: (status) => this.#host.errorText(status),
      },
      (result) => {
        if (check.stopped) return
        this.#inProgress--
        check.run = undefined
        this.#ended(check, result)
        this.#pump()
      },
    )
    if (!run.over) check.run = run
  }

  #ended(check: EndpointCheck, result: ProbeResult): void {
    const { view, health } = check
    const { intervalMs, jitterMs } = check.check
    this.#metrics.checked(view, result.kind === 'denied' ? 'denied' : result.why === '' ? 'passed' : 'failed')
    if (result.kind === 'done' && observeCheck(health, result.why, check.check, this.#host.now())) {
      const told = view.tell(check)
      if (view.judge(endpointKey(check.endpoint))) {
        this.#metrics.unhealthy(view)
        this.#onChange(health.healthy, told)
      }
    }
    check.after(intervalMs + Math.random() * jitterMs, () => this.#isDue(check))
  }
}

/** What quarantine, and policy of a pod of this node, say of the question, as they would of a request. */
function denialOf(target: ExchangeTarget, { check }: EndpointCheck, authority: string): string | undefined {
  const { policies, connection, quarantine } = target
  if (quarantine !== undefined) return quarantine.reason
  if (policies === undefined || policies.empty) return undefined
  const { probe } = check
  const verdict = authorize(policies, connection, probe.type === 'TCP' ? undefined : factsOf(probe, authority))
  return verdict.kind === 'deny' ? verdict.reason : undefined
}

function factsOf(probe: Exclude<HealthCheck['probe'], { type: 'TCP' }>, authority: string): HttpFacts {
  const [path = '', query = ''] = probe.type === 'HTTP' ? probe.path.split('?', 2) : ['/grpc.health.v1.Health/Check']
  return { method: probe.type === 'HTTP' ? 'GET' : 'POST', path, query, authority, header: () => undefined }
}

function isSame(checks: readonly EndpointCheck[], wanted: readonly HealthCheck[]): boolean {
  return JSON.stringify(checks.map(({ check }) => check)) === JSON.stringify(wanted)
}
