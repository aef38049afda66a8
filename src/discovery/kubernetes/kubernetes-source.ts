/**
 * The Kubernetes source: what the mesh needs of a cluster, followed through its API server. Nothing is told before
 * all of it was listed once. Bias: knowledge is kept. A server that is away, refuses or forgets takes nothing away;
 * only what it says was deleted is gone.
 */
import { type BackoffOptions, backoffMs, errorLine, startTimer } from '#base'
import { ObjectSet, type ObjectSource, SourceError, type SourceOptions, type SourceReport } from '#discovery'
import { type KubernetesApi, KubernetesError } from '#kubernetes'
import { isInvalid, type KubernetesObject, type PodObject, type Problem, renderProblem } from '#resources'
import { ApiHealth } from './api-health.ts'
import { isFields } from './fields.ts'
import { followedFor, type Kind } from './followed.ts'
import { FollowedResource } from './followed-resource.ts'
import { NamedConfigMaps } from './named-config-maps.ts'
import { type Entry, isOlder, ObjectStore } from './object-store.ts'
import { PacedCall } from './paced-call.ts'
import { Pause } from './pause.ts'
import type { Failing } from './reflector.ts'
import { servedVersions } from './served-groups.ts'

export interface KubernetesSourceOptions extends SourceOptions {
  /** Stays the caller's: it is not closed with the source. */
  readonly api: KubernetesApi
  /** Of this agent: its pods are followed apart, and until they are deleted. */
  readonly node?: string
  /** Only these kinds; default all that the mesh knows. */
  readonly only?: readonly Kind[]
  /** How long opening may take, ms; default: for ever. */
  readonly waitMs?: number
  /** Called while the source is not open yet, each time that what it waits for changes. */
  readonly onWaiting?: (report: SourceReport) => void
  /** Period of the look for definitions that have come or gone, and of the sign of life, ms; default 30,000. */
  readonly lookMs?: number
  /** For the answer to a look, or to getPod, ms; default 10,000. */
  readonly answerTimeoutMs?: number
  /** Without an answer for so long, the server counts as away, ms; default 10,000. */
  readonly staleAfterMs?: number
  /** Least time between two calls of onChange, ms; default 50. It grows with the time that onChange takes. */
  readonly gapMs?: number
  /** Objects per request when listing; default 500. */
  readonly pageSize?: number
  /** Life of one watch, s; default 450, up to a quarter more or less. */
  readonly watchSeconds?: number
  /** After failures; default 800 ms to 30 s. */
  readonly backoff?: BackoffOptions
  /** In [0, 1); default Math.random. */
  readonly random?: () => number
  /** Wall clock, ms; default Date.now. */
  readonly now?: () => number
}

export interface KubernetesSource extends ObjectSource {
  /** Since when the API server has not answered, ms since 1970; undefined while it answers. */
  readonly staleSince: number | undefined
  /**
   * The pod as the API server has it now, also before its event has come; from then on it is in the set too.
   * Undefined: there is none. Throws KubernetesError, or SourceError for a pod that does not validate.
   */
  getPod(namespace: string, name: string): Promise<PodObject | undefined>
}

const MAX_GAP_MS = 5000
const ANSWER_TIMEOUT_MS = 10_000
/** Looks that fail in a row before it is told: a server that asks to wait is no news. */
const LOOKS_TOLD_AFTER = 3
const DEFAULT_BACKOFF: BackoffOptions = { baseMs: 800, maxMs: 30_000 }

/**
 * Resolves after the first onChange. Throws SourceError when that takes longer than `waitMs`, and the signal's
 * reason when that is aborted meanwhile.
 */
export async function openKubernetesSource(options: KubernetesSourceOptions): Promise<KubernetesSource> {
  const source = new ApiSource(options)
  await source.open()
  return source
}

class ApiSource implements KubernetesSource {
  readonly #options: KubernetesSourceOptions
  readonly #resources: readonly FollowedResource[]
  readonly #health: ApiHealth
  readonly #telling: PacedCall
  readonly #configMaps: NamedConfigMaps
  readonly #closing = new AbortController()
  readonly #lookPause = new Pause()
  readonly #random: () => number
  readonly #abort = (): void => void this[Symbol.asyncDispose]()
  readonly #opened = Promise.withResolvers<void>()
  #looking: Promise<void> = Promise.resolve()
  #lookProblem: Problem | undefined
  #lookFails = false
  /** It is known which optional resources there are. */
  #looked = false
  #isOpen = false
  #waitingText = '[]'
  /** What was told. */
  readonly #set = new ObjectSet()
  #toldConfigMaps: ReadonlySet<KubernetesObject> = new Set()
  #toldProblems: string | undefined

  constructor(options: KubernetesSourceOptions) {
    this.#options = options
    this.#random = options.random ?? Math.random
    const now = options.now ?? Date.now
    const onChange = (): void => this.#changed()
    this.#health = new ApiHealth({
      server: options.api.server,
      staleAfterMs: options.staleAfterMs ?? 10_000,
      now,
      onChange,
    })
    this.#telling = new PacedCall({ call: () => this.#tell(), gapMs: options.gapMs ?? 50, maxGapMs: MAX_GAP_MS })
    this.#configMaps = new NamedConfigMaps({
      api: options.api,
      periodMs: options.lookMs ?? 30_000,
      answerTimeoutMs: options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS,
      signal: this.#closing.signal,
      onChange,
    })
    this.#resources = followedFor(options.node, options.only).map(
      (followed) =>
        new FollowedResource(followed, {
          api: options.api,
          backoff: options.backoff ?? DEFAULT_BACKOFF,
          pageSize: options.pageSize ?? 500,
          watchSeconds: options.watchSeconds ?? 450,
          random: this.#random,
          now,
          signal: this.#closing.signal,
          onAnswer: () => this.#health.answered(),
          onChange,
          onFailure: (failing) => this.#followingFailed(failing),
        }),
    )
  }

  get staleSince(): number | undefined {
    return this.#health.staleSince
  }

  async open(): Promise<void> {
    const { signal, waitMs } = this.#options
    signal?.throwIfAborted()
    signal?.addEventListener('abort', this.#abort, { once: true })
    for (const resource of this.#resources) {
      if (!resource.followed.optional) resource.served(resource.followed.versions[0])
    }
    this.#looking = this.#look()
    using _ = waitMs === undefined ? undefined : startTimer(waitMs, () => this.#giveUp(waitMs))
    await this.#opened.promise
    signal?.throwIfAborted()
  }

  async getPod(namespace: string, name: string): Promise<PodObject | undefined> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`
    let answer: unknown
    try {
      const { api, answerTimeoutMs = ANSWER_TIMEOUT_MS } = this.#options
      answer = await api.request('GET', path, { timeoutMs: answerTimeoutMs, signal: this.#closing.signal })
      this.#health.answered()
    } catch (thrown) {
      if (!(thrown instanceof KubernetesError)) throw thrown
      this.#health.failed(thrown)
      if (thrown.status === 404) return undefined
      throw thrown
    }
    const { object, problems } = this.#feedPod(answer)
    if (object?.kind === 'Pod' && !isInvalid(object) && problems.length === 0) return object
    const why =
      problems.map(renderProblem).join('; ') || `the API server's answer for Pod ${namespace}/${name} is no Pod`
    throw new SourceError(why)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new SourceError('The Kubernetes source was closed'))
    this.#options.signal?.removeEventListener('abort', this.#abort)
    this.#telling[Symbol.dispose]()
    this.#health[Symbol.dispose]()
    this.#opened.resolve()
    await Promise.all([this.#looking, this.#configMaps.ended(), ...this.#resources.map((resource) => resource.ended())])
  }

  async #look(): Promise<void> {
    const { api, lookMs = 30_000, answerTimeoutMs = ANSWER_TIMEOUT_MS, backoff = DEFAULT_BACKOFF } = this.#options
    const { signal } = this.#closing
    for (let failures = 0; !signal.aborted; ) {
      const sought = this.#resources.filter(({ isSought }) => isSought)
      try {
        const served = await servedVersions(
          api,
          sought.map(({ followed }) => followed),
          { timeoutMs: answerTimeoutMs, signal },
        )
        const wasAway = failures > 0 || this.staleSince !== undefined
        failures = 0
        this.#lookFails = false
        this.#health.answered()
        this.#lookProblem = undefined
        for (const resource of sought) resource.served(served.get(resource.name))
        // The server is back: why wait.
        if (wasAway) for (const resource of this.#resources) resource.wake()
        this.#looked = true
        this.#changed()
      } catch (thrown) {
        if (signal.aborted) return
        failures++
        this.#lookFails = true
        this.#lookFailed(thrown, failures)
      }
      const usual = lookMs * (0.75 + this.#random() / 2)
      const ms = failures === 0 ? usual : Math.min(usual, backoffMs(failures, this.#random(), backoff))
      await this.#lookPause.wait(ms, signal)
    }
  }

  #followingFailed({ error, isNew }: Failing): void {
    this.#health.failed(error)
    // A look shows whether the definition has gone, or whether it is this resource only that the server cannot give.
    const isDoubtful = error.status === 404 ? isNew : error.isOutage
    if (isDoubtful && !this.#lookFails) this.#lookPause.wake()
  }

  #lookFailed(thrown: unknown, failures: number): void {
    if (thrown instanceof KubernetesError) {
      this.#health.failed(thrown)
      const isRefusal = thrown.status === 401 || thrown.status === 403
      if (thrown.isOutage || (!isRefusal && failures < LOOKS_TOLD_AFTER)) return
    }
    const effect = 'which custom resources there are is not known'
    this.#lookProblem = { message: `Cannot ask the API server what it serves (${errorLine(thrown)}): ${effect}` }
    this.#changed()
  }

  #feedPod(answer: unknown): Entry {
    const spec = isFields(answer) ? answer['spec'] : undefined
    const nodeName = isFields(spec) ? spec['nodeName'] : undefined
    const status = isFields(answer) ? answer['status'] : undefined
    const phase = isFields(status) ? status['phase'] : undefined
    const stores = this.#resources.flatMap(({ followed, store }) => (followed.kind === 'Pod' ? [store] : []))
    const isOurs = nodeName === this.#options.node
    // Of other nodes those that have ended are not followed: nobody would tell when it is deleted.
    const isFollowed = isOurs || this.#options.node === undefined || (phase !== 'Succeeded' && phase !== 'Failed')
    const store = isFollowed ? (isOurs ? stores[0] : stores.at(-1)) : undefined
    return (store ?? new ObjectStore(() => undefined)).put(answer, true)
  }

  #giveUp(waitMs: number): void {
    const waits = this.#problems().map(renderProblem)
    const missing = this.#resources.filter(({ complete }) => !complete).map(({ name }) => name)
    if (waits.length === 0) waits.push(`not known yet: ${[...new Set(missing)].join(', ')}`)
    const message = `Cannot read the cluster at ${this.#options.api.server} within ${waitMs / 1000} s: ${waits.join('; ')}`
    this.#opened.reject(new SourceError(message))
    void this[Symbol.asyncDispose]()
  }

  #changed(): void {
    if (this.#closing.signal.aborted) return
    if (this.#isOpen || !this.#looked || this.#resources.some(({ complete }) => !complete)) {
      this.#telling.ask()
      return
    }
    this.#isOpen = true
    this.#telling.callNow()
    this.#opened.resolve()
  }

  #tell(): void {
    if (!this.#isOpen) {
      this.#tellWaiting()
      return
    }
    this.#gather()
    const change = this.#set.takeChange()
    const problems = this.#problems()
    const text = JSON.stringify(problems)
    const same = change.removed.length === 0 && change.added.length === 0
    if (same && this.#toldProblems === text) return
    this.#toldProblems = text
    this.#options.onChange(this.#set.objects, { problems, change })
  }

  #tellWaiting(): void {
    const problems = this.#problems()
    const text = JSON.stringify(problems)
    if (text === this.#waitingText) return
    this.#waitingText = text
    this.#options.onWaiting?.({ problems })
  }

  /** Brings the set to where the stores are. It costs what changed, not what there is. */
  #gather(): void {
    // More than one of them has pods: ours, and others.
    const stores = Map.groupBy(this.#resources, ({ name }) => name)
    for (const ofName of stores.values()) {
      const changes = ofName.map(({ store }) => store.takeChanged())
      for (const key of new Set(changes.flatMap((changed) => [...changed.keys()]))) {
        const now = newestOf(ofName.map(({ store }) => store.entries.get(key)))
        const known = [
          ...changes.map((changed) => changed.get(key)),
          ...ofName.map(({ store }) => store.entries.get(key)?.object),
        ]
        for (const object of known) if (object !== undefined && object !== now) this.#set.remove(object)
        if (now !== undefined) this.#set.add(now)
      }
    }
    const policies = this.#resources.filter(({ followed }) => followed.kind === 'BackendTLSPolicy')
    this.#configMaps.follow(
      policies.flatMap(({ store }) => [...store.entries.values()].flatMap(({ object }) => object ?? [])),
    )
    const configMaps = new Set<KubernetesObject>(this.#configMaps.objects)
    for (const object of this.#toldConfigMaps) if (!configMaps.has(object)) this.#set.remove(object)
    for (const object of configMaps) this.#set.add(object)
    this.#toldConfigMaps = configMaps
  }

  #problems(): readonly Problem[] {
    const outage = this.#health.problem
    const own = [outage, this.#lookProblem].filter((one) => one !== undefined)
    return [...own, ...this.#resources.flatMap((resource) => resource.problems(outage !== undefined))]
  }
}

/** A pod that is deleted and made again elsewhere may be in both sets of pods for a moment: the newer one counts. */
function newestOf(entries: readonly (Entry | undefined)[]): KubernetesObject | undefined {
  let newest: Entry | undefined
  for (const entry of entries) {
    if (entry?.object === undefined) continue
    if (newest === undefined || !isOlder(entry.version, newest.version)) newest = entry
  }
  return newest?.object
}
