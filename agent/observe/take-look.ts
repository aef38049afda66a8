/** Looks at the node: asks the proxies what they counted, and puts beside it what the agent knows anyway. */
import { existsSync } from 'node:fs'
import type { MetricFamily } from '#contract'
import { COUNTED_FAMILIES, EdgeGrowth, type NodeLook, type PodSample } from '#observer'
import { renderFault, renderPlace } from '#resources'
import { mergeFamilies } from '#telemetry'
import type { AgentConfig } from '../config.ts'
import type { Enroller } from '../enrol/enroller.ts'
import type { NodeIdentities } from '../identity/node-identities.ts'
import type { MeshState } from '../mesh-state.ts'
import { processCpuSeconds } from '../saturation/process-times.ts'
import { PING_MS, type ProxyPool } from '../supervise/proxy-pool.ts'
import { podMemories } from './cgroup-memory.ts'
import { EndpointServices } from './endpoint-services.ts'
import { NodeFacts } from './node-facts.ts'
import { lastLogMs } from './pod-facts.ts'
import { WorldLook } from './world-look.ts'

export interface LookParts {
  readonly config: Pick<AgentConfig, 'node' | 'stateDir' | 'logs'>
  readonly mesh: MeshState
  readonly pool: ProxyPool
  readonly enroller: Enroller
  readonly identities: NodeIdentities
  readonly lookMs: number
}

/** Of more pods on a node than that, the rest is not looked at. */
const MAX_PODS = 500

export class LookTaker {
  readonly #parts: LookParts
  readonly #growth = new EdgeGrowth()
  readonly #world: WorldLook
  readonly #node: NodeFacts
  readonly #endpoints = new EndpointServices()
  /** By serial: what each certificate had left when it was first seen. */
  #lifetimes = new Map<string, number>()
  #podsBefore: ReadonlyMap<string, PodSample> = new Map()
  #lastMs: number | undefined

  constructor(parts: LookParts) {
    this.#parts = parts
    this.#world = new WorldLook(parts.config.node)
    this.#node = new NodeFacts(parts.config.stateDir)
  }

  /**
   * @param clock `nowMs` monotonic, `atMs` since the epoch
   * @param all families of metrics are asked for, not only those that finding faults needs
   */
  async take(
    clock: () => { readonly nowMs: number; readonly atMs: number },
    all: boolean,
  ): Promise<{
    readonly look: NodeLook
    /** Merged for who asks. */
    families(): readonly MetricFamily[]
  }> {
    const { mesh, pool } = this.#parts
    const [counted, proxies] = await Promise.all([
      pool.look(all ? undefined : COUNTED_FAMILIES),
      // Between looks that are far enough from each other the proxies have told it anyway.
      this.#parts.lookMs >= 2 * PING_MS ? pool.lastStatus() : pool.status(),
    ])
    const now = clock()
    const seconds = this.#lastMs === undefined ? 0 : (now.nowMs - this.#lastMs) / 1000
    this.#lastMs = now.nowMs
    // Whom it decides for changes with the pods, which is no change of the policy.
    const peers = () =>
      new Map(
        mesh.peerAuthentications().map(({ pods: _pods, ...one }) => {
          const seen = { says: JSON.stringify(one), isMeshWide: one.scope === 'mesh' }
          return [`${one.namespace}/${one.name}`, seen] as const
        }),
      )
    const { world, changes } = this.#world.look(mesh.snapshot, peers, now)
    const look: NodeLook = {
      atMs: now.atMs,
      seconds,
      edges: this.#growth.grown(
        counted.map(({ process, answer }) => ({ process, families: answer.families })),
        pool.processes(),
      ),
      proxies: proxies.map(({ id, state, pid, restarts, missedPings, lastStatus }) => ({
        id,
        missedPings,
        isUp: state === 'up',
        restarts,
        lagMs: lastStatus?.eventLoopLagMs ?? 0,
        shedding: lastStatus?.shedding ?? false,
        rssBytes: lastStatus?.rssBytes ?? 0,
        cpuSeconds: processCpuSeconds(pid),
      })),
      endpoints: this.#endpoints.samples(
        mesh.snapshot,
        counted.map(({ answer }) => answer),
      ),
      ejected: ejectedOf(proxies),
      unhealthy: proxies.flatMap(({ lastStatus }) => lastStatus?.unhealthy ?? []),
      pods: this.#pods(),
      certificates: this.#certificates(now.atMs),
      problems: mesh.problems.map((problem) => ({
        severity: problem.severity ?? 'error',
        object: problem.object ?? '',
        place: renderPlace(problem) || 'Cluster',
        message: renderFault(problem),
      })),
      node: this.#node.sample(),
      policyChanges: changes,
      world,
    }
    return { look, families: () => mergeFamilies(counted.map(({ answer }) => answer)) }
  }

  #pods(): readonly PodSample[] {
    const { config, mesh, enroller } = this.#parts
    const states = new Map(enroller.list().map((status) => [status.uid, status]))
    const logRoot = config.logs.which === 'off' || !existsSync(config.logs.root) ? undefined : config.logs.root
    const memoryOf = podMemories()
    const samples = mesh.wishes.slice(0, MAX_PODS).map((wish) => {
      const { uid, namespace, name } = wish
      const workload = mesh.snapshot.workloadByUid(uid)
      const status = states.get(uid)
      return {
        name: `${namespace}/${name}`,
        owner: `${namespace}/${workload?.owner ?? name}`,
        isReady: workload?.ready ?? false,
        state: status?.state ?? 'enrolling',
        detail: status?.detail ?? '',
        lastLogMs: logRoot === undefined ? undefined : lastLogMs(logRoot, wish),
        ...(memoryOf(uid) ?? { memoryBytes: undefined, memoryLimitBytes: undefined }),
      } satisfies PodSample
    })
    // Most are as they were, and need not be remembered once for each look.
    const before = this.#podsBefore
    this.#podsBefore = new Map(
      samples.map((sample) => {
        const known = before.get(sample.name)
        return [sample.name, known !== undefined && isSame(known, sample) ? known : sample]
      }),
    )
    return [...this.#podsBefore.values()]
  }

  #certificates(atMs: number): NodeLook['certificates'] {
    const lifetimes = new Map<string, number>()
    const found = this.#parts.identities.list().map(({ spiffeId, state, serial, notAfterMs, lastError }) => {
      const ttlMs = this.#lifetimes.get(serial) ?? notAfterMs - atMs
      lifetimes.set(serial, ttlMs)
      return { identity: spiffeId, state, notAfterMs, ttlMs, lastError }
    })
    this.#lifetimes = lifetimes
    return found
  }
}

function isSame(a: PodSample, b: PodSample): boolean {
  return (
    a.state === b.state &&
    a.detail === b.detail &&
    a.lastLogMs === b.lastLogMs &&
    a.memoryBytes === b.memoryBytes &&
    a.memoryLimitBytes === b.memoryLimitBytes &&
    a.isReady === b.isReady &&
    a.owner === b.owner
  )
}

type ProxyStates = Awaited<ReturnType<ProxyPool['status']>>

/** Of how many callers is told. */
const MAX_CALLERS = 10

function ejectedOf(proxies: ProxyStates): NodeLook['ejected'] {
  const found = new Map<string, { service: string; endpoint: string; callers: string[] }>()
  for (const { lastStatus } of proxies) {
    for (const { workload, ejected } of lastStatus?.pods ?? []) {
      for (const { service, endpoint } of ejected) {
        const key = `${service} ${endpoint}`
        const one = found.get(key) ?? { service, endpoint, callers: [] }
        found.set(key, one)
        if (one.callers.length < MAX_CALLERS && !one.callers.includes(workload)) one.callers.push(workload)
      }
    }
  }
  return [...found.values()]
}
