/** What the admin API is told of the agent: gathered when asked for. */
import type { LagMeter } from '#base'
import type { CheckLine, MetricsAnswer } from '#contract'
import { ROOT_NAMESPACE_DEFAULT } from '#mesh/compile'
import { renderFault, renderPlace } from '#resources'
import { AgentMetrics } from './admin/agent-metrics.ts'
import type {
  AdminBackend,
  AgentStatus,
  PodStatus,
  Problem,
  ProxyState,
  QuarantineState,
  TapReading,
} from './admin/backend.ts'
import { certificateProblems, loneIssuerProblems } from './admin/certificate-problems.ts'
import type { AgentConfig } from './config.ts'
import type { AgentCounters } from './counters.ts'
import type { DoctorOptions } from './doctor/doctor-options.ts'
import type { Enroller } from './enrol/enroller.ts'
import type { NodeIdentities } from './identity/node-identities.ts'
import type { LogDesk } from './logs/log-desk.ts'
import { logFamilies } from './logs/log-metrics.ts'
import type { MeshState } from './mesh-state.ts'
import type { AlertDesk } from './observe/alerts/alert-desk.ts'
import type { Watch } from './observe/watch.ts'
import type { NodeSampler } from './saturation/node-sampler.ts'
import type { ProxyPool } from './supervise/proxy-pool.ts'
import type { SpanDesk } from './tracing/span-desk.ts'

export interface BackendParts {
  readonly config: AgentConfig
  readonly mesh: MeshState
  readonly pool: ProxyPool
  readonly enroller: Enroller
  readonly counters: AgentCounters
  readonly identities: NodeIdentities
  readonly lag: LagMeter
  readonly node: NodeSampler
  readonly startedAt: number
  readonly version: string
  /** Where there is one. */
  readonly cluster?: Pick<DoctorOptions, 'api' | 'staleSince'>
  /** Absent: no logs are read. */
  readonly logs?: LogDesk
  /** Absent: nothing is traced. */
  readonly spans?: SpanDesk
  isReady(): boolean
  /** Undefined while it does not look. */
  watch(): Watch | undefined
  /** Undefined: there is no file of rules, or it is not read yet. */
  alerts(): AlertDesk | undefined
}

export function createBackend(parts: BackendParts): AdminBackend {
  const { config, mesh, pool, enroller, counters } = parts
  const ownMetrics = new AgentMetrics()
  let tapDesk: Promise<TapReading> | undefined
  let examining: Promise<readonly CheckLine[]> | undefined
  return {
    get ready() {
      return parts.isReady()
    },
    get snapshot() {
      return mesh.snapshot
    },
    status: () => agentStatus(parts),
    pods: () => podStatuses(parts),
    problems: () => problems(parts),
    diagnose: async () => parts.watch()?.diagnose(),
    alerts: () =>
      parts.alerts()?.answer() ?? {
        node: config.node,
        file: config.alertsFile ?? '',
        readMs: 0,
        rules: [],
        alerts: [],
      },
    kernelRules: (uid) => enroller.kernelRules(uid),
    asksOwnDns: (uid) => parts.mesh.wishes.some((wish) => wish.uid === uid && !wish.captureDns),
    doctor: () => {
      // Loaded by the few who are asked; those who ask meanwhile get the same answer.
      examining ??= import('./doctor/doctor.ts')
        .then(({ examineNode }) => examineNode(doctorOptions(parts)))
        .finally(() => {
          examining = undefined
        })
      return examining
    },
    peerAuthentications: () => mesh.peerAuthentications(),
    node: config.node,
    traffic: () => pool.metrics(),
    metrics: async (): Promise<readonly MetricsAnswer[]> => [
      {
        families: [
          ...counters.families(),
          ...logFamilies(await parts.logs?.status()),
          ...(parts.alerts()?.families() ?? []),
          ...(parts.spans?.families() ?? []),
        ],
      },
      ownMetrics.collect(await agentStatus(parts)),
      ...(await pool.metrics()),
      { families: await parts.node.families() },
    ],
    config: () => ({ ...config, admin: config.admin ?? 'none', enrolled: enroller.list().length }),
    ...(parts.logs === undefined ? {} : { logs: parts.logs }),
    ...(config.tap.enabled
      ? {
          taps: {
            redact: config.tap.redact,
            load: () => {
              tapDesk ??= import('./observe/tap-desk.ts').then(
                ({ TapDesk }) => new TapDesk(pool, config.node, config.tap),
              )
              return tapDesk
            },
          },
        }
      : {}),
  }
}

async function agentStatus(parts: BackendParts): Promise<AgentStatus> {
  const { config, mesh, pool, enroller, counters, identities } = parts
  const answers = await pool.status()
  const proxies = answers.map(({ id, state, pid, restarts, worldVersion, lastStatus }): ProxyState => {
    const pods = lastStatus?.pods ?? []
    return {
      id,
      state,
      pid,
      restarts,
      worldVersion,
      rssBytes: lastStatus?.rssBytes ?? 0,
      eventLoopLagMs: lastStatus?.eventLoopLagMs ?? 0,
      shedding: lastStatus?.shedding ?? false,
      taps: lastStatus?.taps ?? 0,
      pods: pods.length,
      connections: pods.reduce((sum, pod) => sum + pod.connections, 0),
      requestsInFlight: pods.reduce((sum, pod) => sum + pod.requestsInFlight, 0),
    }
  })
  return {
    node: config.node,
    version: parts.version,
    pid: process.pid,
    trustDomain: config.trustDomain,
    source: config.source.kind === 'directory' ? `directory ${config.source.directory}` : 'kubernetes',
    startedAt: parts.startedAt,
    ready: parts.isReady(),
    worldVersion: mesh.version,
    eventLoopLagMs: parts.lag.peakMs,
    optedInPods: mesh.wishes.length,
    enrolledPods: enroller.list().filter(({ state }) => state === 'enrolled').length,
    repairs: counters.total('weir_enrolment_repairs_total'),
    problems: problems(parts).length,
    proxies,
    ejections: answers.flatMap(({ id, lastStatus }) =>
      (lastStatus?.pods ?? []).flatMap(({ workload, ejected }) =>
        ejected.map((one) => ({ ...one, proxy: id, pod: workload })),
      ),
    ),
    unhealthy: answers.flatMap(({ id, lastStatus }) =>
      (lastStatus?.unhealthy ?? []).map((one) => ({ ...one, proxy: id })),
    ),
    quarantined: quarantined(parts),
    issuer: identities.issuer,
    identities: identities.list(),
    certificateFailures: identities.failures,
  }
}

function quarantined({ config, mesh, enroller }: BackendParts): readonly QuarantineState[] {
  const cut = new Set(
    enroller
      .list()
      .filter(({ isCutOff }) => isCutOff)
      .map(({ uid }) => uid),
  )
  return mesh.objects().flatMap((object) => {
    if (object.kind !== 'workload' || object.quarantine === undefined) return []
    if (object.node !== config.node || object.terminating) return []
    const { namespace, name, uid, quarantine } = object
    return [{ pod: `${namespace}/${name}`, allow: quarantine.allow, inForce: cut.has(uid) }]
  })
}

function doctorOptions({ config, version, mesh, enroller, identities, cluster }: BackendParts): DoctorOptions {
  const { confDir, binDir } = config.cni
  return {
    api: cluster?.api,
    staleSince: cluster?.staleSince,
    cni: confDir === undefined || binDir === undefined ? undefined : { confDir, binDir },
    node: config.node,
    stateDir: config.stateDir,
    version,
    namespace: process.env['POD_NAMESPACE'] ?? ROOT_NAMESPACE_DEFAULT,
    world: () => mesh.objects(),
    enrolled: () => new Set(enroller.list().map(({ uid }) => uid)),
    identities: () => identities.list(),
    now: Date.now,
  }
}

async function podStatuses({ config, mesh, pool, enroller }: BackendParts): Promise<readonly PodStatus[]> {
  const states = new Map(enroller.list().map((status) => [status.uid, status]))
  const served = (await pool.status()).flatMap(({ lastStatus }) => lastStatus?.pods ?? [])
  return mesh
    .objects()
    .filter((object) => object.kind === 'workload')
    .map((workload): PodStatus => {
      const status = states.get(workload.uid)
      const here = served.filter(({ uid }) => uid === workload.uid)
      return {
        namespace: workload.namespace,
        name: workload.name,
        uid: workload.uid,
        serviceAccount: workload.serviceAccount,
        node: workload.node,
        addresses: workload.addresses,
        optedIn: workload.optedIn,
        state:
          status?.state ??
          (workload.optedIn && workload.node === config.node && !workload.terminating ? 'enrolling' : 'outside'),
        detail: status?.detail ?? '',
        verifiedAt: status?.verifiedAt ?? 0,
        repairs: status?.repairs ?? 0,
        proxies: status === undefined ? [] : pool.handOf(workload.uid),
        connections: here.reduce((sum, { connections }) => sum + connections, 0),
        requestsInFlight: here.reduce((sum, { requestsInFlight }) => sum + requestsInFlight, 0),
      }
    })
}

function problems(parts: BackendParts): readonly Problem[] {
  const { config, mesh, enroller, identities } = parts
  const names = new Map(mesh.wishes.map(({ uid, namespace, name }) => [uid, `Pod ${namespace}/${name}`]))
  return [
    ...mesh.problems.map(
      (problem): Problem => ({
        severity: problem.severity ?? 'error',
        subject: renderPlace(problem) || 'Cluster',
        message: renderFault(problem),
        remedy: '',
      }),
    ),
    ...enroller
      .list()
      .filter(({ detail }) => detail !== '')
      .map(({ uid, detail }): Problem => {
        const subject = names.get(uid) ?? uid
        return { severity: 'error', subject, message: detail.replace(`${subject}: `, ''), remedy: '' }
      }),
    ...certificateProblems(identities.list(), identities.revocationProblem),
    ...(parts.alerts()?.problems() ?? []),
    ...(config.issuer.kind === 'memory' ? loneIssuerProblems(mesh.objects(), config.node) : []),
  ]
}
