/**
 * One followed resource: its store, the reflector that fills it while it is served, and what is wrong with it.
 */
import type { Problem } from '#resources'
import { collectionPath, type Followed, resourceName } from './followed.ts'
import { ObjectStore } from './object-store.ts'
import { type Failing, Reflector, type ReflectorOptions } from './reflector.ts'

export interface FollowedResourceOptions
  extends Pick<
    ReflectorOptions,
    'api' | 'backoff' | 'pageSize' | 'watchSeconds' | 'random' | 'now' | 'signal' | 'onAnswer'
  > {
  /** Objects, problems or completeness. */
  readonly onChange: () => void
  readonly onFailure: (failing: Failing) => void
}

/** Failures in a row before they are told: while the server as a whole is the trouble, that is told instead. */
const TOLD_AFTER = 3
const OUTAGE_TOLD_AFTER = 6
/** One look may have met a server that was just starting and did not know yet what is defined. */
const ABSENT_AFTER_LOOKS = 2

export class FollowedResource {
  readonly followed: Followed
  readonly name: string
  readonly store: ObjectStore
  readonly #options: FollowedResourceOptions
  #version: string | undefined
  #reflector: Reflector | undefined
  #running: Promise<void> | undefined
  #stop: AbortController | undefined
  #absentLooks = 0

  constructor(followed: Followed, options: FollowedResourceOptions) {
    this.followed = followed
    this.name = resourceName(followed)
    this.store = new ObjectStore(options.onChange)
    this.#options = options
  }

  /** False: some of what is in the cluster may not be known. */
  get complete(): boolean {
    return this.#reflector === undefined || this.#reflector.listed
  }

  /** Whether it has to be looked up what is served: it is not followed, or is not where it was. */
  get isSought(): boolean {
    return this.followed.optional && (this.#reflector === undefined || this.#reflector.failing?.error.status === 404)
  }

  /** What a look has shown: the version that is served, undefined when it is none. */
  served(version: string | undefined): void {
    if (version !== undefined) {
      this.#absentLooks = 0
      const isNew = version !== this.#version
      this.#version = version
      if (this.#reflector === undefined) this.#start()
      else if (isNew) this.#reflector.wake()
      return
    }
    // It answers again: what the look was told meanwhile is not so.
    if (this.#reflector?.failing?.error.status !== 404) return
    if (++this.#absentLooks < ABSENT_AFTER_LOOKS) return
    this.#absentLooks = 0
    this.#stop?.abort()
    this.#reflector = undefined
    this.#version = undefined
    this.store.clear()
    this.#options.onChange()
  }

  wake(): void {
    this.#reflector?.wake()
  }

  /** Problems with following it, then those of its objects. */
  problems(outage: boolean): readonly Problem[] {
    const failing = this.#reflector?.failing
    const own = failing === undefined || (outage && failing.error.isOutage) ? undefined : this.#describe(failing)
    const ofObjects = this.store.problems
    return own === undefined ? ofObjects : [own, ...ofObjects]
  }

  /** After the signal of the options was aborted. */
  async ended(): Promise<void> {
    await this.#running
  }

  #start(): void {
    const { onChange, onFailure, signal, ...options } = this.#options
    const { followed, store } = this
    const stop = new AbortController()
    this.#stop = stop
    const reflector = new Reflector({
      ...options,
      signal: AbortSignal.any([signal, stop.signal]),
      store,
      path: () => collectionPath(followed, this.#version ?? followed.versions[0] ?? ''),
      ...(followed.fieldSelector === undefined ? {} : { fieldSelector: followed.fieldSelector }),
      onState: (failing) => {
        if (this.#reflector !== reflector) return
        if (failing !== undefined) onFailure(failing)
        else this.#absentLooks = 0
        onChange()
      },
      onListed: onChange,
    })
    this.#reflector = reflector
    const before = this.#running
    // One after the other: what a stopped one still had in hand may not be mixed with what the next one reads.
    this.#running = (async () => {
      await before
      await reflector.run()
    })()
  }

  #describe({ error, verb, failures, since }: Failing): Problem | undefined {
    const { status } = error
    const { optional } = this.followed
    const known = this.#reflector?.listed === true
    const effect = known ? `; since ${new Date(since).toISOString()} what was known stays in force` : ''
    if (status === 403) {
      const remedy = `grant the verb ${verb} on ${this.name} to the agent's service account`
      return { message: `May not ${verb} ${this.name}: ${remedy}${effect}` }
    }
    if (status === 404 && optional) return undefined
    const isTold = status === 401 || status === 404 || failures >= (error.isOutage ? OUTAGE_TOLD_AFTER : TOLD_AFTER)
    return isTold ? { message: `Cannot ${verb} ${this.name} (${error.message})${effect}` } : undefined
  }
}
