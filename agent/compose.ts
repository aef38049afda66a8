/** Puts the agent together: objects → world and wishes → proxies and enrolments, and a way to look at it all. */
import { join } from 'node:path'
import { errorLine, LagMeter, startInterval, startTimer } from '#base'
import { indexPath } from '#cni'
import type { Enrolment } from '#mesh/compile'
import type { KubernetesObject, Problem } from '#resources'
import { mergeFamilies } from '#telemetry'
import { startAdmin, startStandbyAdmin } from './admin/server.ts'
import { adminDoors } from './admin-access.ts'
import { createBackend } from './admin-backend.ts'
import type { ClusterSide } from './cluster/cluster-side.ts'
import { enrolmentTroubles } from './cluster/enrolment-troubles.ts'
import { CniSide } from './cni/cni-side.ts'
import { installPlugin } from './cni/install-plugin.ts'
import type { AgentConfig } from './config.ts'
import { AgentCounters } from './counters.ts'
import { createNetnsLookup } from './cri/netns-lookup.ts'
import { Enroller } from './enrol/enroller.ts'
import { awaitCertificates } from './hand-over/await-certificates.ts'
import { giveWayTo } from './hand-over/give-way.ts'
import type { HandedPods } from './hand-over/handed-pods.ts'
import { type Inheritance, Standby } from './hand-over/standby.ts'
import { SuccessorDoor } from './hand-over/successor-door.ts'
import { NodeIdentities } from './identity/node-identities.ts'
import { WantedAccounts } from './identity/wanted-accounts.ts'
import { IdleMemory } from './idle-memory.ts'
import { createLog } from './log.ts'
import { LogDesk } from './logs/log-desk.ts'
import { localPods, logsConfigOf } from './logs/logs-config.ts'
import { MeshState } from './mesh-state.ts'
import { WantedAlerts } from './observe/alerts/wanted-alerts.ts'
import type { Watch } from './observe/watch.ts'
import { createNodeSampler } from './saturation/node-sampler.ts'
import { openSource } from './source.ts'
import type { StateDir } from './state-dir.ts'
import { createProxyPool } from './supervise/create-proxy-pool.ts'
import { SpanDesk } from './tracing/span-desk.ts'
import { forgetUninstall, isUninstalled, removeState } from './uninstall.ts'
import { readVersion } from './version.ts'

export interface RunningAgent {
  /** It cannot begin, and why; without that it never resolves. */
  readonly failed: Promise<string>
  /**
   * Drains, removes the rules (unless they are to be kept) and ends everything, within bounded time; where a successor is
   * ready, it gets all pods instead.
   */
  stop(reason: string): Promise<void>
}

/** How long connections may go on after SIGTERM, ms; Kubernetes kills after 30 seconds. */
const STOP_GRACE_MS = 10_000
const LINGER_MS = 200
const LAG_TICK_MS = 250
/** How long the kernel's quarantine waits for that of the proxies. */
const CUT_FIRST_MS = 500
/** How far the world of an agent that takes over may be behind. */
const SETTLE_MS = 10_000

/**
 * @param stateDir where another agent has it, this one waits for its turn beside that one
 * @throws an error of one line when something it cannot do without is missing; nothing is left running then
 */
export async function startAgent(config: AgentConfig, stateDir: StateDir): Promise<RunningAgent> {
  const startedAt = Date.now()
  const isFirst = stateDir.isOurs
  if (isFirst) forgetUninstall(config.stateDir)
  const log = createLog(config.logLevel, config.node)
  const counters = new AgentCounters()
  const mesh = new MeshState(config, log)
  const spans = config.tracing && new SpanDesk({ node: config.node, url: config.tracing.url, log })
  const pool = createProxyPool({ config, world: mesh, log, spans })
  const enroller = new Enroller({
    stateDir: config.stateDir,
    host: pool,
    log,
    counters,
    beforeQuarantine: () => pool.caughtUp(CUT_FIRST_MS),
  })

  // What was opened is closed again when something later cannot be.
  await using opened = new AsyncDisposableStack()
  const identities = await NodeIdentities.open({
    issuer: config.issuer,
    trustDomain: config.trustDomain,
    ttlMs: config.certTtlMs,
    ...(config.revocationFile === undefined ? {} : { revocationFile: config.revocationFile }),
    taker: pool,
    log,
  })
  opened.use(identities)
  const accounts = new WantedAccounts()
  const setAccounts = () => identities.setWanted(accounts.update(mesh.wishes, enroller.list()))

  let ready = false
  let isStandby = false
  let stopping = false
  let begun = false
  /** Of the agent before, not enrolled here yet. */
  let handed: HandedPods | undefined
  let leftovers: Disposable | undefined
  let watch: Watch | undefined
  let enrolling: Promise<unknown> = Promise.resolve()
  const idleMemory = new IdleMemory()
  const enrol = (wishes: readonly Enrolment[]) => {
    enrolling = enroller.setWishes(cni.enrollable(wishes)).finally(() => idleMemory.workDone())
  }
  const logsConfig = logsConfigOf(config, process.env)
  const logs =
    logsConfig === undefined
      ? undefined
      : new LogDesk({ config: logsConfig, log, pods: () => localPods(mesh.localWorkloads(), config.node) })
  // Proxies hear of a change before it is acted on: a pod is never served in a world that does not know it.
  mesh.onDelta = (delta) => {
    pool.updateWorld(delta)
    logs?.podsChanged()
  }
  mesh.onWishes = (wishes) => {
    setAccounts()
    if (begun) enrol(wishes)
  }
  let cluster: ClusterSide | undefined
  const lookup = createNetnsLookup({
    criSockets: config.criSockets,
    onWarning: (problem) => log.warn({ problem }, 'problem'),
  })
  const { socket, confDir } = config.cni
  const inCluster = config.source.kind === 'kubernetes'
  const getPod = async (namespace: string, name: string) => source.getPod?.(namespace, name)
  const getNamespace = async (name: string) => source.getNamespace?.(name)
  const cni = new CniSide({
    node: config.node,
    // Whoever may write pods in a cluster shall not say whose network namespace is theirs.
    netnsFrom: inCluster ? 'runtime' : 'annotation',
    stateDir: config.stateDir,
    standby: !isFirst,
    log,
    ...(socket === undefined ? {} : { socketPath: socket }),
    ...(confDir === undefined ? {} : { indexPath: indexPath(confDir) }),
    ...(inCluster ? { lookup, getPod, getNamespace } : {}),
    onObjects: (objects, change) => mesh.update(objects, reported, change),
    wishes: () => mesh.wishes,
    settled: (uid, timeoutMs) => enroller.settled(uid, timeoutMs),
    onHandled: ({ command, outcome }) => counters.add('weir_cni_requests_total', { command, outcome }),
  })
  let reported: readonly Problem[] = []
  let told: readonly KubernetesObject[] = []
  const source = await openSource(config, {
    onObjects: (objects, { problems, change }) => {
      reported = problems
      told = objects
      cni.update(objects, true, change)
      cluster?.update(objects, change)
    },
    onWaiting: ({ problems }) => mesh.waiting(problems),
  })
  opened.use(source)
  const lag = new LagMeter(performance.now(), LAG_TICK_MS)
  const lagTicker = startInterval(LAG_TICK_MS, () => lag.tick(performance.now()))
  opened.use(lagTicker)
  const node = createNodeSampler({ now: () => performance.now(), podNamespaces: () => enroller.namespaces() })
  const backend = createBackend({
    config,
    mesh,
    pool,
    enroller,
    counters,
    identities,
    lag,
    node,
    startedAt,
    version: readVersion(),
    isReady: () => ready || isStandby,
    watch: () => watch,
    alerts: () => alerts?.desk,
    cluster: source,
    ...(logs === undefined ? {} : { logs }),
    ...(spans === undefined ? {} : { spans }),
  })
  const { alertsFile } = config
  const alerts =
    alertsFile === undefined
      ? undefined
      : new WantedAlerts({
          file: alertsFile,
          stateDir: config.stateDir,
          node: config.node,
          log,
          families: async () => mergeFamilies(await backend.metrics()),
        })
  const adminOptions = {
    socketPath: join(config.stateDir, 'admin.sock'),
    ...(config.admin === undefined ? {} : { address: config.admin }),
    backend,
    logger: log,
    ...adminDoors(config, () => mesh.snapshot.workloads(), log),
  }
  const handOverOptions = { path: join(config.stateDir, 'hand-over.sock'), node: config.node, log }
  const standbyAdmin = isFirst ? undefined : await startStandbyAdmin(adminOptions)
  const admin = standbyAdmin ?? (await startAdmin(adminOptions))
  opened.use(admin)
  let door = isFirst ? new SuccessorDoor(handOverOptions) : undefined
  const standby = isFirst ? undefined : new Standby({ ...handOverOptions, tryTake: () => stateDir.tryTake() })
  opened.move()

  pool.start()
  let chain: Disposable | undefined
  const failed = Promise.withResolvers<string>()
  const wishedUids = () => new Set(mesh.wishes.map(({ uid }) => uid))
  /** Beside another agent: all that can be done without pods, until they are this one's. */
  const waitForTurn = async (place: Standby): Promise<Inheritance> => {
    void Promise.all([place.placed, pool.serving, awaitCertificates(() => identities.list())]).then(() => {
      if (stopping || stateDir.isOurs) return
      isStandby = true
      log.info({ tookMs: Date.now() - startedAt }, 'standby')
      place.sayReady()
    })
    const inheritance = await place.turn
    handed = inheritance.pods
    // Its proxies serve until all pods are served here; where it died without a word, nobody does.
    isStandby &&= inheritance.handedOver
    log.info({ pods: handed.size }, 'taking over')
    forgetUninstall(config.stateDir)
    try {
      await standbyAdmin?.takeSocket()
      door = new SuccessorDoor(handOverOptions)
    } catch (thrown) {
      // The pods come first: they are served without a way to look at it.
      log.error({ err: thrown }, 'admin socket or door not opened')
    }
    enroller.inherit(handed)
    cni.takeOver()
    return inheritance
  }
  /** Rules of a pod that left carry its last connections; a pod that has just come may be known to the one before only. */
  const clearLater = (clear: () => Promise<void>): void => {
    if (stopping) return
    leftovers = startTimer(SETTLE_MS, () => {
      clear().catch((thrown: unknown) => log.warn({ err: thrown }, 'leftovers not removed'))
    })
  }
  const starting = (async () => {
    if (source.api !== undefined) log.info({ server: source.api.server }, 'waiting for the API server')
    await source.opened
    if (source.api !== undefined && !stopping) {
      const { ClusterSide } = await import('./cluster/cluster-side.ts')
      const troubles = () => enrolmentTroubles(mesh.wishes, enroller.list())
      cluster = new ClusterSide({ api: source.api, node: config.node, log, troubles })
      cluster.update(told)
    }
    const inheritance = standby === undefined ? undefined : await waitForTurn(standby)
    const clear = async () => {
      await enroller.clearLeftovers(wishedUids())
      handed?.keep(wishedUids())
    }
    if (inheritance?.handedOver === true) void inheritance.predecessorGone.then(() => clearLater(clear))
    else await clear()
    begun = true
    logs?.begin()
    enrol(mesh.wishes)
    await cni.listen()
    // Only now is there somebody to answer the plugin.
    chain = installPlugin(config.cni, () => !isUninstalled(config.stateDir), log)
    await enrolling
    inheritance?.taken()
    if (stopping) return
    const { Watch } = await import('./observe/watch.ts')
    watch = new Watch({ config, mesh, pool, enroller, identities, log, lookMs: config.lookMs })
    if (alerts !== undefined) watch.onLook = (told) => alerts.look(told)
  })()
  Promise.all([starting, pool.serving]).then(
    () => {
      if (stopping) return
      ready = true
      const enrolled = enroller.list().filter(({ state }) => state === 'enrolled').length
      log.info({ pods: enrolled, failed: enroller.list().length - enrolled, tookMs: Date.now() - startedAt }, 'ready')
    },
    (thrown: unknown) => {
      if (stopping) return
      log.error({ err: thrown }, 'start failed')
      failed.resolve(errorLine(thrown))
    },
  )

  return {
    failed: failed.promise,
    stop: async (reason) => {
      log.info({ reason }, 'stopping')
      stopping = true
      ready = false
      isStandby = false
      standby?.[Symbol.dispose]()
      leftovers?.[Symbol.dispose]()
      watch?.[Symbol.dispose]()
      await alerts?.[Symbol.asyncDispose]()
      await cluster?.[Symbol.asyncDispose]()
      chain?.[Symbol.dispose]()
      // Whoever goes on with the pods goes on with their logs, from where this one was.
      await logs?.stop()
      const uninstalled = stateDir.isOurs && isUninstalled(config.stateDir)
      // One that has not begun has nothing to hand over.
      const successor = uninstalled || !begun ? undefined : door?.successor
      if (successor !== undefined) await starting.catch(() => undefined)
      const handedOver =
        successor !== undefined &&
        door !== undefined &&
        (await giveWayTo(successor, { enroller, cni, admin, door, stateDir, log }))
      const keepRules = handedOver || !stateDir.isOurs || (config.keepRules && !uninstalled)
      const leaveWorld = async () => {
        await source[Symbol.asyncDispose]()
        await cni[Symbol.asyncDispose]()
      }
      if (!handedOver) {
        await leaveWorld()
        await starting.catch(() => undefined)
        await enroller.stopRedirecting(keepRules, uninstalled)
        await new Promise((resolve) => setTimeout(resolve, LINGER_MS))
      }
      // The world is followed meanwhile: what a policy denies now is cut, until the last connection has ended.
      await pool.stop(STOP_GRACE_MS)
      await spans?.stop()
      if (handedOver) await leaveWorld()
      await enroller.close(keepRules, uninstalled)
      identities[Symbol.dispose]()
      idleMemory[Symbol.dispose]()
      lagTicker[Symbol.dispose]()
      await admin[Symbol.asyncDispose]()
      door?.[Symbol.dispose]()
      if (uninstalled) removeState(config.stateDir)
      log.info({}, 'stopped')
    },
  }
}
