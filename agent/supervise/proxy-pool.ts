/**
 * The proxies of a node: started, told of world and pods, replaced with back-off when they end. A proxy that
 * ends takes only its own connections along; the listeners are the agent's, so new ones wait in the backlog.
 */
import { backoffMs, errorLine, startInterval, startTimer } from '#base'
import type {
  IdentityMaterial,
  LookAnswer,
  MeshObject,
  MetricsAnswer,
  ProxyQuery,
  ProxySettings,
  ProxyStatusAnswer,
  ProxyToAgent,
  TapSpec,
} from '#contract'
import type { HeldListener } from '../broker/listeners.ts'
import { openUpstreamSockets, refuseSocketsRequest } from '../broker/upstream-sockets.ts'
import type { AgentLog } from '../log.ts'
import { dealHand } from './deal.ts'
import { LeavingPods } from './leaving-pods.ts'
import { ProxyProcess } from './proxy-process.ts'

/** An enrolled pod as the proxies are told of it. */
export interface PooledPod {
  readonly uid: string
  /** `namespace/name`. */
  readonly workload: string
  /** `namespace/name` of its service account. */
  readonly account: string
  readonly netnsFd: number
  readonly listeners: readonly HeldListener[]
}

export interface WorldFeed {
  readonly version: number
  objects(): readonly MeshObject[]
}

export interface ProxyPoolOptions {
  readonly count: number
  readonly mainPath: string
  readonly uid: number
  readonly compileCacheDir: string
  /** Where the proxies' access log goes. */
  readonly output: number | 'inherit'
  readonly world: WorldFeed
  readonly log: AgentLog
  settings(proxyId: number): ProxySettings
  /** From one question whether a proxy is there to the next; `PING_MS` unless given. */
  readonly pingMs?: number
  /** What a proxy tells of so many traced requests. */
  readonly onSpans?: ((count: number, batch: string) => void) | undefined
}

export type SlotState = 'starting' | 'up' | 'restarting' | 'draining' | 'down'

interface Slot {
  readonly id: number
  state: SlotState
  process: ProxyProcess | undefined
  failures: number
  restarts: number
  worldVersion: number
  startedAt: number
  missedPings: number
  lastStatus: ProxyStatusAnswer | undefined
  retry: NodeJS.Timeout | undefined
}

const BACKOFF = { baseMs: 100, maxMs: 10_000 }
/** A proxy that lived this long starts over with the shortest back-off. */
const STABLE_MS = 30_000
/** So old is what is known of a proxy at most, while it answers. */
export const PING_MS = 5_000
const MAX_MISSED_PINGS = 6

function processName({ id, process }: Slot): string {
  return `${id}:${process?.pid ?? 0}`
}

export class ProxyPool {
  readonly #options: ProxyPoolOptions
  readonly #slots: Slot[]
  readonly #pods = new Map<string, PooledPod>()
  /** By account. A proxy is told of those only that pods dealt to it have. */
  readonly #identities = new Map<string, IdentityMaterial>()
  readonly #leaving = new LeavingPods()
  /** Open ones: a proxy that is started again is told of them, too. */
  readonly #taps = new Map<number, TapSpec>()
  onTapped: (proxyId: number, told: Extract<ProxyToAgent, { type: 'tapped' }>) => void = () => {}
  readonly #pinger: Disposable
  /** Who waits until no proxy is behind. */
  readonly #awaiting = new Set<() => void>()
  #stopping = false
  #toldApplied = 0
  #allDown: (() => void) | undefined
  readonly #serving = Promise.withResolvers<void>()

  constructor(options: ProxyPoolOptions) {
    this.#options = options
    this.#slots = Array.from({ length: options.count }, (_, id) => ({
      id,
      state: 'down',
      process: undefined,
      failures: 0,
      restarts: 0,
      worldVersion: 0,
      startedAt: 0,
      missedPings: 0,
      lastStatus: undefined,
      retry: undefined,
    }))
    this.#pinger = startInterval(options.pingMs ?? PING_MS, () => this.#ping())
  }

  start(): void {
    for (const slot of this.#slots) this.#startSlot(slot)
  }

  /** Resolves when every proxy has come up for the first time and goes by the present world. */
  get serving(): Promise<void> {
    return this.#serving.promise
  }

  /** Resolves when every proxy that is up goes by the present world, or `timeoutMs` later. */
  async caughtUp(timeoutMs: number): Promise<void> {
    if (!this.#isBehind()) return
    const { promise, resolve } = Promise.withResolvers<void>()
    using _ = startTimer(timeoutMs, resolve)
    this.#awaiting.add(resolve)
    await promise
    this.#awaiting.delete(resolve)
  }

  /** Tells all proxies of a change; `world.objects()` must already include it. */
  updateWorld(change: { readonly upsert: readonly MeshObject[]; readonly remove: readonly string[] }): void {
    const { version } = this.#options.world
    for (const { process } of this.#slots) process?.send({ type: 'world', version, reset: false, ...change })
  }

  /** New, renewed or (undefined) forgotten: told to the proxies that pods of the account are dealt to. */
  setIdentity(account: string, material: IdentityMaterial | undefined): void {
    const before = this.#identities.get(account)
    if (material === undefined) this.#identities.delete(account)
    else this.#identities.set(account, material)
    for (const { id, process } of this.#slots) {
      if (material === undefined) {
        if (before !== undefined) process?.send({ type: 'identity-forget', identity: before.identity })
      } else if (this.#accountsOf(id).has(account)) process?.send({ type: 'identity', material })
    }
  }

  /** Accounts whose pods are dealt to a proxy. */
  #accountsOf(slotId: number): Set<string> {
    const pods = [...this.#pods.values()].filter(({ uid }) => this.handOf(uid).includes(slotId))
    return new Set(pods.map(({ account }) => account))
  }

  /** Deals the pod to its proxies. Again for the same uid: the listeners replace those handed over before. */
  addPod(pod: PooledPod): void {
    this.#pods.set(pod.uid, pod)
    this.#leaving.cameBack(pod.uid)
    for (const id of dealHand(pod.uid, this.#slots.length)) this.#sendPod(this.#slots[id]?.process, pod)
  }

  /**
   * Every proxy is told, also those the pod was not dealt to: they may hold connections into it. Resolves when
   * the last has let go of it. Its sockets stay available to them until `forgetPod`.
   */
  removePod(uid: string, mode: 'drain' | 'now'): Promise<void> {
    const told = this.#slots.filter(({ process }) => process !== undefined)
    const left = this.#leaving.wait(
      uid,
      told.map(({ id }) => id),
    )
    for (const { process } of told) process?.send({ type: 'pod-remove', uid, mode })
    if (mode === 'now') this.forgetPod(uid)
    return left
  }

  /** No socket of this pod is made any more; proxies give up the key of its account unless another pod of it is theirs. */
  forgetPod(uid: string): void {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return
    this.#pods.delete(uid)
    const material = this.#identities.get(pod.account)
    if (material === undefined) return
    for (const id of this.handOf(uid)) {
      if (this.#accountsOf(id).has(pod.account)) continue
      this.#slots[id]?.process?.send({ type: 'identity-forget', identity: material.identity })
    }
  }

  handOf(uid: string): readonly number[] {
    return dealHand(uid, this.#slots.length)
  }

  /** All proxies tell what fits, by `onTapped`. Ids of those that are told of it now. */
  openTap(id: number, spec: TapSpec): readonly number[] {
    this.#taps.set(id, spec)
    return this.#slots.flatMap(({ id: proxyId, process }) => {
      process?.send({ type: 'tap', id, spec })
      return process === undefined ? [] : [proxyId]
    })
  }

  closeTap(id: number): void {
    this.#taps.delete(id)
    for (const { process } of this.#slots) process?.send({ type: 'tap-end', id })
  }

  /** Lets all proxies finish; resolves when all have ended, at the latest some seconds after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    this.#pinger[Symbol.dispose]()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#allDown = resolve
    for (const slot of this.#slots) {
      clearTimeout(slot.retry)
      if (slot.process === undefined) continue
      slot.state = 'draining'
      slot.process.send({ type: 'drain', graceMs })
    }
    const killer = setTimeout(() => {
      for (const { process } of this.#slots) process?.kill()
    }, graceMs + 2_000)
    this.#checkAllDown()
    await promise
    clearTimeout(killer)
  }

  async metrics(): Promise<readonly MetricsAnswer[]> {
    const answers = await this.#queryAll({ kind: 'metrics' })
    return answers.map(({ data }) => data as MetricsAnswer)
  }

  /**
   * Of those that answer, with a name for each that is another one when it is started again. For one asker.
   * @param only of the metrics those families; absent: all
   */
  async look(only?: readonly string[]): Promise<readonly { readonly process: string; readonly answer: LookAnswer }[]> {
    const answers = await this.#queryAll({ kind: 'look', ...(only === undefined ? {} : { only }) })
    return answers.map(({ slot, data }) => ({ process: processName(slot), answer: data as LookAnswer }))
  }

  /** Those that there are, as `look` names them. */
  processes(): ReadonlySet<string> {
    return new Set(this.#slots.map(processName))
  }

  /** Fresh status of those that answer; the state of all. */
  async status(): Promise<readonly (Omit<Slot, 'process' | 'retry'> & { readonly pid: number })[]> {
    for (const { slot, data } of await this.#queryAll({ kind: 'status' })) slot.lastStatus = data as ProxyStatusAnswer
    return this.lastStatus()
  }

  /** As `status`, of some seconds ago. */
  lastStatus(): readonly (Omit<Slot, 'process' | 'retry'> & { readonly pid: number })[] {
    return this.#slots.map((slot) => ({ ...slot, pid: slot.process?.pid ?? 0 }))
  }

  #queryAll(query: ProxyQuery): Promise<{ readonly slot: Slot; readonly data: unknown }[]> {
    const asked = this.#slots.map(async (slot) => {
      if (slot.state !== 'up' || slot.process === undefined) return []
      try {
        return [{ slot, data: await slot.process.query(query) }]
      } catch {
        return []
      }
    })
    return Promise.all(asked).then((answers) => answers.flat())
  }

  #startSlot(slot: Slot): void {
    const { world, log, mainPath, uid, compileCacheDir, output } = this.#options
    slot.state = 'starting'
    slot.startedAt = Date.now()
    slot.missedPings = 0
    slot.worldVersion = 0
    slot.lastStatus = undefined
    const process = new ProxyProcess({
      mainPath,
      uid,
      compileCacheDir,
      output,
      onMessage: (message) => this.#onMessage(slot, message),
      onExit: (reason) => this.#onExit(slot, reason),
    })
    slot.process = process
    log.debug({ proxy: slot.id, proxyPid: process.pid }, 'proxy started')
    process.send({ type: 'settings', settings: this.#options.settings(slot.id) })
    for (const [id, spec] of this.#taps) process.send({ type: 'tap', id, spec })
    process.send({ type: 'world', version: world.version, reset: true, upsert: world.objects(), remove: [] })
    for (const pod of this.#pods.values()) {
      if (this.handOf(pod.uid).includes(slot.id) && !this.#leaving.has(pod.uid)) this.#sendPod(process, pod)
    }
  }

  #sendPod(process: ProxyProcess | undefined, { uid, workload, account, listeners }: PooledPod): void {
    const material = this.#identities.get(account)
    if (material !== undefined) process?.send({ type: 'identity', material })
    process?.sendWithFds(
      (ticket) => ({ type: 'pod-add', ticket, uid, workload, listeners: listeners.map(({ spec }) => spec) }),
      listeners.map(({ fd }) => fd),
      false,
    )
  }

  #onMessage(slot: Slot, message: ProxyToAgent): void {
    switch (message.type) {
      case 'hello':
        if (slot.state === 'starting') slot.state = 'up'
        this.#options.log.info({ proxy: slot.id, proxyPid: message.pid }, 'proxy up')
        return
      case 'world-applied':
        slot.worldVersion = message.version
        this.#tellApplied()
        return
      case 'pod-drained':
        this.#leaving.letGo(message.uid, slot.id)
        return
      case 'sockets-wanted':
        this.#giveSockets(slot, message)
        return
      case 'tapped':
        this.onTapped(slot.id, message)
        return
      case 'shedding': {
        const { shedding, lagMs, shedRequests } = message
        const facts = { proxy: slot.id, lagMs: Math.round(lagMs), shedRequests }
        if (shedding) this.#options.log.warn(facts, 'proxy sheds load: its event loop lags')
        else this.#options.log.info(facts, 'proxy takes all requests again')
        return
      }
      case 'spans':
        this.#options.onSpans?.(message.count, message.batch)
        return
      case 'endpoint-health': {
        const { why, ...endpoint } = message.endpoint
        if (message.healthy) this.#options.log.info({ proxy: slot.id, ...endpoint }, 'endpoint healthy')
        else this.#options.log.warn({ proxy: slot.id, ...endpoint, why }, 'endpoint unhealthy')
        return
      }
      default:
        // pod-listening and drained need no action; an answer is settled where it was asked for.
        return
    }
  }

  /** Once per version, when the last proxy that is up has it: from then on all new requests follow it. */
  #tellApplied(): void {
    const { version } = this.#options.world
    const behind = this.#isBehind()
    if (!behind) for (const tell of this.#awaiting) tell()
    if (!behind && this.#slots.every(({ state }) => state === 'up')) this.#serving.resolve()
    if (behind || version === this.#toldApplied) return
    this.#toldApplied = version
    this.#options.log.info({ version }, 'world applied')
  }

  #isBehind(): boolean {
    const { version } = this.#options.world
    return this.#slots.some((slot) => slot.state === 'up' && slot.worldVersion !== version)
  }

  #giveSockets(slot: Slot, message: Extract<ProxyToAgent, { type: 'sockets-wanted' }>): void {
    const { process } = slot
    const { id } = message
    if (process === undefined) return
    const pod = this.#pods.get(message.uid)
    const refusal =
      refuseSocketsRequest(message) ??
      (pod === undefined ? 'the pod is not enrolled on this node' : undefined) ??
      (process.isBehind ? 'the proxy is behind with taking its sockets' : undefined)
    if (pod === undefined || refusal !== undefined) {
      process.send({ type: 'sockets-refused', id, error: refusal ?? 'refused' })
      return
    }
    try {
      const fds = openUpstreamSockets(pod.netnsFd, message)
      process.sendWithFds((ticket) => ({ type: 'sockets', id, ticket, count: fds.length }), fds, true)
    } catch (thrown) {
      process.send({ type: 'sockets-refused', id, error: errorLine(thrown) })
    }
  }

  #onExit(slot: Slot, reason: string): void {
    slot.process = undefined
    this.#leaving.letGoOfAll(slot.id)
    if (this.#stopping) {
      slot.state = 'down'
      this.#checkAllDown()
      return
    }
    slot.failures = Date.now() - slot.startedAt >= STABLE_MS ? 1 : slot.failures + 1
    slot.restarts += 1
    slot.state = 'restarting'
    const delayMs = backoffMs(slot.failures, Math.random(), BACKOFF)
    this.#options.log.error({ proxy: slot.id, reason, restartInMs: delayMs }, 'proxy ended')
    slot.retry = setTimeout(() => this.#startSlot(slot), delayMs)
  }

  #checkAllDown(): void {
    if (this.#slots.every(({ process }) => process === undefined)) this.#allDown?.()
  }

  /** A proxy whose event loop is stuck for half a minute is replaced. */
  #ping(): void {
    for (const slot of this.#slots) {
      const { process } = slot
      // One that hangs while it starts is no better than one that hangs later.
      if ((slot.state !== 'up' && slot.state !== 'starting') || process === undefined) continue
      process.query({ kind: 'status' }).then(
        (data) => {
          slot.missedPings = 0
          slot.lastStatus = data as ProxyStatusAnswer
        },
        () => {
          if (slot.process !== process) return
          slot.missedPings += 1
          if (slot.missedPings >= MAX_MISSED_PINGS) process.kill()
        },
      )
    }
  }
}
