/**
 * Brings what is in line with what should be, pod by pod: enrols, changes, verifies, repairs, un-enrols.
 * Jobs of one namespace run one after the other; a pod that fails is tried again with back-off and
 * holds up no other.
 */
import { join } from 'node:path'
import { type BackoffOptions, backoffMs, errorLine, KeyedQueue, Semaphore, startInterval, startTimer } from '#base'
import type { KernelRules } from '#contract'
import type { AgentCounters } from '../counters.ts'
import type { HandedPod, HandedPods } from '../hand-over/handed-pods.ts'
import type { AgentLog } from '../log.ts'
import {
  clearTraces,
  closePod,
  type EnrolledPod,
  installRules,
  leaveCutOff,
  namespaceAtPath,
  podProblem,
  preparePod,
  releaseListeners,
  restoreListeners,
  stopRedirecting,
} from './enrolled-pod.ts'
import { type EnrolmentStatus, type Entry, isAsWished, isSameWish, newEntry, statusOf, workloadOf } from './entry.ts'
import { clearLeftover } from './leftovers.ts'
import { PodRecords } from './pod-records.ts'
import { RulesReader } from './rules-reader.ts'
import { type EnrolmentWish, sameExclusions } from './wish.ts'

/** Those who serve the enrolled pods. */
export interface PodHost {
  addPod(pod: {
    uid: string
    workload: string
    account: string
    netnsFd: number
    listeners: EnrolledPod['listeners']
  }): void
  /** Resolves when the last connection of the pod has ended. */
  removePod(uid: string, mode: 'drain' | 'now'): Promise<void>
  forgetPod(uid: string): void
}

export interface EnrollerOptions {
  readonly stateDir: string
  readonly host: PodHost
  readonly log: AgentLog
  readonly counters: AgentCounters
  /** Awaited before a pod is put into quarantine: the proxies cut first, so that peers hear of it; within bounded time. */
  readonly beforeQuarantine?: () => Promise<void>
  /** Longest time that connections of an un-enrolled pod may go on through the proxy, ms. */
  readonly drainLimitMs?: number
}

const RETRY: BackoffOptions = { baseMs: 250, maxMs: 30_000 }
const TICK_MS = 250
/** A connection redirected in the last moment still finds its listener. */
const LINGER_MS = 200
/** More at once finish no sooner: each is a handful of programs that the processors run. */
const PARALLEL = 2

export class Enroller {
  readonly #options: EnrollerOptions
  readonly #lockDir: string
  readonly #records: PodRecords
  readonly #entries = new Map<string, Entry>()
  readonly #queue = new KeyedQueue()
  readonly #slots = new Semaphore(PARALLEL)
  readonly #rules = new RulesReader()
  readonly #ticker: Disposable
  /** Who waits for the outcome of a pod. */
  readonly #waiting = new Map<string, Set<() => void>>()
  #handed: HandedPods | undefined
  #stopped = false

  constructor(options: EnrollerOptions) {
    this.#options = options
    this.#lockDir = join(options.stateDir, 'locks')
    this.#records = new PodRecords(options.stateDir)
    this.#ticker = startInterval(TICK_MS, () => this.#tick())
  }

  /** Pods of the agent before, to be enrolled with the sockets they have. Before the first wishes. */
  inherit(pods: HandedPods): void {
    this.#handed = pods
  }

  /** What another agent may go on with; the sockets stay this one's too. Nothing is to be changed any more by then. */
  handOver(): readonly HandedPod[] {
    return [...this.#entries.values()].flatMap(({ pod }) => {
      if (pod === undefined || pod.closed || pod.listeners.length === 0) return []
      const { wish, context, listeners } = pod
      return [{ uid: wish.uid, workload: workloadOf(wish), netnsFd: context.netnsFd, listeners }]
    })
  }

  /** Of the pods that are enrolled now; the descriptors stay the enroller's. */
  namespaces(): readonly { readonly pod: string; readonly netnsFd: number }[] {
    return [...this.#entries.values()].flatMap(({ pod }) =>
      pod === undefined || pod.closed ? [] : [{ pod: workloadOf(pod.wish), netnsFd: pod.context.netnsFd }],
    )
  }

  /** What the kernel has in a pod; undefined where it is not enrolled. */
  async kernelRules(uid: string): Promise<readonly KernelRules[] | undefined> {
    const pod = this.#entries.get(uid)?.pod
    return pod === undefined ? undefined : await this.#rules.read(pod)
  }

  /** Says what should be, whole; resolves when each change was made or has failed once. */
  async setWishes(wishes: readonly EnrolmentWish[]): Promise<void> {
    const wanted = new Map(wishes.map((wish) => [wish.uid, wish]))
    const jobs: Promise<void>[] = []
    // Those that leave go first: a namespace or its ports may be wanted by a newcomer.
    for (const [uid, entry] of this.#entries) {
      if (wanted.has(uid) || entry.wish === undefined) continue
      entry.wish = undefined
      jobs.push(this.#schedule(uid))
    }
    for (const [uid, wish] of wanted) {
      const entry = this.#entries.get(uid) ?? newEntry()
      this.#entries.set(uid, entry)
      const before = entry.wish
      entry.wish = wish
      if (before !== undefined && isSameWish(before, wish)) continue
      jobs.push(this.#schedule(uid))
    }
    await Promise.all(jobs)
  }

  list(): readonly EnrolmentStatus[] {
    return [...this.#entries].map(([uid, entry]) => statusOf(uid, entry))
  }

  /**
   * Resolves when the pod is enrolled as it is wished now, or an attempt at that has failed; after `timeoutMs` with what
   * is then. A pod that is not wished for yet is waited for.
   */
  async settled(uid: string, timeoutMs: number): Promise<EnrolmentStatus> {
    const entry = this.#entries.get(uid)
    if (entry === undefined || !isAsWished(entry)) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const waiting = this.#waiting.get(uid) ?? new Set()
      this.#waiting.set(uid, waiting.add(resolve))
      using _ = startTimer(timeoutMs, resolve)
      // It would be tried again only after its back-off.
      if (entry?.state === 'failed') void this.#schedule(uid)
      await promise
      waiting.delete(resolve)
      if (waiting.size === 0 && this.#waiting.get(uid) === waiting) this.#waiting.delete(uid)
    }
    const now = this.#entries.get(uid)
    return now === undefined
      ? {
          uid,
          state: 'failed',
          detail: 'It is not to be enrolled any more.',
          verifiedAt: 0,
          repairs: 0,
          isCutOff: false,
        }
      : statusOf(uid, now)
  }

  /** Clears up after an agent that crashed: pods it had enrolled and that are not wanted any more. */
  async clearLeftovers(wanted: ReadonlySet<string>): Promise<void> {
    await Promise.all(
      this.#records.list().map(async (record) => {
        if (wanted.has(record.uid)) return
        const { log } = this.#options
        const pod = record.workload
        try {
          // Where another pod has come into the namespace, the rules are that pod's.
          const cleared = this.#isEnrolled(record.identity)
            ? 'gone'
            : await this.#slots.run(() => clearLeftover(record, this.#lockDir))
          if (cleared === 'removed') log.info({ pod }, 'leftover rules removed')
          else log.debug({ pod }, 'leftover namespace is gone')
        } catch (thrown) {
          // The record stays, for the next start.
          log.warn({ pod, problem: errorLine(thrown) }, 'leftover rules not removed')
          return
        }
        this.#records.remove(record.uid)
      }),
    )
  }

  /**
   * First half of stopping: no pod is redirected any more (unless rules are to be kept), nothing is repaired. Pods in
   * quarantine stay cut off, unless it is for good.
   */
  async stopRedirecting(keepRules: boolean, forGood = false): Promise<void> {
    this.#stopped = true
    this.#ticker[Symbol.dispose]()
    for (const entry of this.#entries.values()) {
      clearTimeout(entry.retry)
      entry.cutDrain?.()
    }
    await this.#queue.idle()
    if (keepRules) return
    await this.#eachPod(async (pod) => {
      if (staysCutOff(pod, forGood)) await leaveCutOff(pod)
      else await stopRedirecting(pod)
    })
  }

  /** Second half, after the proxies have ended: the rest is removed and everything closed. */
  async close(keepRules: boolean, forGood = false): Promise<void> {
    await this.#eachPod(async (pod, uid) => {
      if (!keepRules && !staysCutOff(pod, forGood)) {
        await clearTraces(pod)
        this.#records.remove(uid)
      }
    })
    for (const { pod } of this.#entries.values()) if (pod !== undefined) closePod(pod)
    this.#handed?.[Symbol.dispose]()
  }

  #isEnrolled(identity: string): boolean {
    return [...this.#entries.values()].some(({ pod }) => pod?.identity === identity)
  }

  async #eachPod(job: (pod: EnrolledPod, uid: string) => Promise<void>): Promise<void> {
    await Promise.all(
      [...this.#entries].map(async ([uid, { pod }]) => {
        if (pod === undefined || pod.closed) return
        try {
          await this.#slots.run(() => job(pod, uid))
        } catch (thrown) {
          if (namespaceAtPath(pod) === 'same')
            this.#options.log.error(
              { pod: workloadOf(pod.wish), reason: podProblem(pod.wish, thrown) },
              'rules could not be removed',
            )
        }
      }),
    )
  }

  /** One job of a pod at a time, also where its namespace changes while jobs wait, and one of a namespace. */
  #schedule(uid: string): Promise<void> {
    return this.#queue.run(`pod ${uid}`, () => {
      const entry = this.#entries.get(uid)
      const key = entry?.wish?.netns ?? entry?.pod?.path ?? uid
      return this.#queue.run(key, () => this.#slots.run(() => this.#reconcile(uid)))
    })
  }

  async #reconcile(uid: string): Promise<void> {
    const entry = this.#entries.get(uid)
    if (entry === undefined || this.#stopped) return
    clearTimeout(entry.retry)
    const { wish } = entry
    try {
      await this.#bringInLine(uid, entry)
      entry.failures = 0
    } catch (thrown) {
      this.#failed(uid, entry, thrown)
    }
    // The failure of an older wish is none of the present one, which has its own job.
    if (isAsWished(entry) || isSameWish(wish, entry.wish)) for (const tell of this.#waiting.get(uid) ?? []) tell()
  }

  async #bringInLine(uid: string, entry: Entry): Promise<void> {
    const { wish, pod } = entry
    if (pod !== undefined) {
      const at = namespaceAtPath(pod)
      if (at !== 'same' || (wish !== undefined && wish.netns !== pod.path)) {
        await this.#drop(uid, entry, pod, at === 'same')
      } else if (wish !== undefined && wish.serviceAccount !== pod.wish.serviceAccount) {
        // Another identity: nothing under the old one goes on. The rules stay, and refuse for the moment.
        await this.#drop(uid, entry, pod, false)
      } else if (wish === undefined) {
        if (entry.state !== 'draining') await this.#leave(uid, entry, pod)
        return
      } else if (pod.listeners.length === 0) {
        await this.#rejoin(entry, pod, wish)
        return
      } else if (!sameExclusions(pod.exclusions, wish)) {
        const was = pod.exclusions.quarantine !== undefined
        const is = wish.quarantine !== undefined
        if (is && !was) await this.#options.beforeQuarantine?.()
        await installRules(pod, wish)
        entry.watch.reset(Date.now())
        this.#enrolled(entry, wish, was === is ? 'rules changed' : is ? 'pod in quarantine' : 'pod released')
        return
      } else {
        entry.state = 'enrolled'
        return
      }
    }
    if (wish === undefined) this.#entries.delete(uid)
    else await this.#enrol(uid, entry, wish)
  }

  /**
   * Listeners first, then the proxies are told, then the rules: whatever is redirected finds a listener,
   * at worst waits in its backlog, and nothing that should be redirected passes once the pod counts as enrolled.
   */
  async #enrol(uid: string, entry: Entry, wish: EnrolmentWish): Promise<void> {
    const startedAt = performance.now()
    entry.state = 'enrolling'
    await this.#evictOtherTenant(uid, wish)
    const pod = await preparePod(wish, this.#lockDir, {
      remembered: (identity) => this.#records.find(identity)?.before,
      takeListeners: (identity) => this.#handed?.take(identity) ?? [],
    })
    try {
      const { path, identity, before } = pod
      this.#records.write({ uid, workload: workloadOf(wish), path, identity, before })
      this.#tellHost(pod)
      await installRules(pod, wish)
    } catch (thrown) {
      void this.#options.host.removePod(uid, 'now')
      await clearTraces(pod).catch(() => undefined)
      closePod(pod)
      this.#records.remove(uid)
      throw thrown
    }
    entry.pod = pod
    entry.watch.reset(Date.now())
    this.#enrolled(entry, wish, 'pod enrolled', {
      backend: pod.before.backend,
      tookMs: Math.round(performance.now() - startedAt),
    })
  }

  #enrolled(entry: Entry, wish: EnrolmentWish, text: string, more: object = {}): void {
    entry.state = 'enrolled'
    entry.detail = ''
    this.#options.log.info({ pod: workloadOf(wish), ...more }, text)
  }

  /** Wanted again while its last connections end: they go on, new ones are redirected again. */
  async #rejoin(entry: Entry, pod: EnrolledPod, wish: EnrolmentWish): Promise<void> {
    restoreListeners(pod)
    entry.state = 'enrolling'
    this.#tellHost(pod)
    await installRules(pod, wish)
    entry.watch.reset(Date.now())
    this.#enrolled(entry, wish, 'pod enrolled')
  }

  /** Another uid that still drains in this namespace: its wait is cut short, its connections with it. */
  async #evictOtherTenant(uid: string, wish: EnrolmentWish): Promise<void> {
    for (const [otherUid, other] of this.#entries) {
      if (otherUid === uid || other.pod === undefined || other.pod.path !== wish.netns) continue
      if (other.wish !== undefined) {
        throw new Error(`Its network namespace ${wish.netns} belongs to pod ${workloadOf(other.wish)}; name its own.`)
      }
      await this.#drop(otherUid, other, other.pod, true)
      this.#entries.delete(otherUid)
    }
  }

  #tellHost(pod: EnrolledPod): void {
    const { wish, context, listeners } = pod
    const { uid, namespace, serviceAccount } = wish
    const account = `${namespace}/${serviceAccount}`
    this.#options.host.addPod({ uid, workload: workloadOf(wish), account, netnsFd: context.netnsFd, listeners })
  }

  /** Opt-out: new connections are direct at once; what runs through the proxy may end by itself. */
  async #leave(uid: string, entry: Entry, pod: EnrolledPod): Promise<void> {
    entry.state = 'draining'
    await stopRedirecting(pod)
    await new Promise((resolve) => setTimeout(resolve, LINGER_MS))
    const drained = this.#options.host.removePod(uid, 'drain')
    releaseListeners(pod)
    this.#options.log.info({ pod: workloadOf(pod.wish) }, 'pod draining')
    const cut = Promise.withResolvers<void>()
    entry.cutDrain = cut.resolve
    const limit = setTimeout(cut.resolve, this.#options.drainLimitMs ?? 3_600_000)
    limit.unref()
    void Promise.race([drained, cut.promise]).then(async () => {
      clearTimeout(limit)
      entry.cutDrain = undefined
      if (this.#stopped || entry.pod !== pod || entry.state !== 'draining') return
      await this.#queue.run(pod.path, () => this.#slots.run(() => this.#finishLeaving(uid, entry, pod)))
    })
  }

  async #finishLeaving(uid: string, entry: Entry, pod: EnrolledPod): Promise<void> {
    if (entry.pod !== pod || entry.state !== 'draining' || this.#stopped) return
    if (entry.wish !== undefined) return
    try {
      await this.#drop(uid, entry, pod, true)
      this.#entries.delete(uid)
      this.#options.log.info({ pod: workloadOf(pod.wish) }, 'pod un-enrolled')
    } catch (thrown) {
      this.#failed(uid, entry, thrown)
    }
  }

  /** Ends a pod's enrolment now, its connections included. */
  async #drop(uid: string, entry: Entry, pod: EnrolledPod, clear: boolean): Promise<void> {
    entry.cutDrain?.()
    entry.pod = undefined
    void this.#options.host.removePod(uid, 'now')
    try {
      if (clear) await clearTraces(pod)
    } catch (thrown) {
      if (namespaceAtPath(pod) === 'same') throw thrown
    } finally {
      closePod(pod)
      if (clear) this.#records.remove(uid)
    }
  }

  #failed(uid: string, entry: Entry, thrown: unknown): void {
    const { wish = entry.pod?.wish } = entry
    entry.failures += 1
    if (entry.pod === undefined || entry.state !== 'enrolled') entry.state = 'failed'
    entry.detail = wish === undefined ? String(thrown) : podProblem(wish, thrown)
    this.#options.counters.add('weir_enrolment_failures_total')
    const delayMs = backoffMs(entry.failures, Math.random(), RETRY)
    // Said once per reason, not once per try.
    const level = entry.failures === 1 ? 'error' : 'debug'
    this.#options.log[level](
      { pod: wish && workloadOf(wish), reason: entry.detail, retryInMs: delayMs },
      'pod not enrolled',
    )
    if (entry.wish === undefined && entry.pod === undefined) {
      this.#entries.delete(uid)
      return
    }
    if (this.#stopped) return
    entry.retry = setTimeout(() => void this.#schedule(uid), delayMs)
    entry.retry.unref()
  }

  #tick(): void {
    const now = Date.now()
    for (const [uid, entry] of this.#entries) {
      const { pod } = entry
      if (pod === undefined || entry.state !== 'enrolled' || !entry.watch.isDue(now)) continue
      const at = namespaceAtPath(pod)
      if (at !== 'same') {
        this.#options.log.warn(
          { pod: workloadOf(pod.wish) },
          at === 'gone' ? 'network namespace gone' : 'network namespace replaced',
        )
        entry.state = 'enrolling'
        void this.#schedule(uid)
        continue
      }
      if (entry.watch.isSound(pod, now)) continue
      entry.watch.looking = true
      void this.#queue.run(pod.path, () => this.#slots.run(() => this.#look(uid, entry, pod)))
    }
  }

  async #look(uid: string, entry: Entry, pod: EnrolledPod): Promise<void> {
    const { watch } = entry
    try {
      if (entry.pod !== pod || entry.state !== 'enrolled' || this.#stopped) return
      const { listeners, rules } = await watch.look(pod, () => this.#tellHost(pod))
      this.#repaired(pod, 'listeners', listeners)
      this.#repaired(pod, 'rules', rules)
      if (listeners.length + rules.length > 0) return
      entry.detail = ''
      entry.failures = 0
    } catch (thrown) {
      this.#failed(uid, entry, thrown)
      watch.failed()
    } finally {
      watch.looking = false
    }
  }

  #repaired(pod: EnrolledPod, what: 'rules' | 'listeners', missing: readonly string[]): void {
    if (missing.length === 0) return
    this.#options.counters.add('weir_enrolment_repairs_total', { what })
    this.#options.log.warn({ pod: workloadOf(pod.wish), missing }, `${what} repaired`)
  }
}

/** With its record, by which the next agent finds it. */
function staysCutOff({ exclusions }: EnrolledPod, forGood: boolean): boolean {
  return exclusions.quarantine !== undefined && !forGood
}
