/**
 * Keeps one store equal to one resource of the API server: lists it page by page, then watches it from there, again
 * and again. A stream that ends is taken up at the last version told; when that version is no more known (410), all
 * is listed anew. What is known stays known while nothing new can be learnt.
 */
import { type BackoffOptions, backoffMs, errorLine, startTimer } from '#base'
import { type KubernetesApi, KubernetesError, type WatchEvent } from '#kubernetes'
import { isFields } from './fields.ts'
import type { ObjectStore } from './object-store.ts'
import { Pause } from './pause.ts'

export interface Failing {
  readonly error: KubernetesError
  readonly verb: 'list' | 'watch'
  /** Wall clock of the first of them, ms. */
  readonly since: number
  /** How many in a row, ≥ 1. */
  readonly failures: number
  /** The first with this status. */
  readonly isNew: boolean
}

export interface ReflectorOptions {
  readonly api: KubernetesApi
  /** Of the collection; asked for before each request. */
  readonly path: () => string
  readonly fieldSelector?: string
  readonly store: ObjectStore
  readonly backoff: BackoffOptions
  readonly pageSize: number
  /** After about this long the server ends a watch and another server may get the next one, s. */
  readonly watchSeconds: number
  /** In [0, 1). */
  readonly random: () => number
  readonly now: () => number
  readonly signal: AbortSignal
  readonly onAnswer: () => void
  /** After each failure, and when it is over. */
  readonly onState: (failing: Failing | undefined) => void
  /** A list is whole. */
  readonly onListed: () => void
}

const LIST_TIMEOUT_MS = 60_000
const MAX_PAGE_BYTES = 64 * 1024 * 1024
/** Beyond the time after which the server should have ended the watch itself. */
const WATCH_GRACE_MS = 30_000
/** A watch that the server ends at once, without an event, is as good as none. */
const SHORT_WATCH_MS = 1000
const MAX_RETRY_AFTER_MS = 60_000
/** Failures in a row after which the version itself may be what the server cannot work with. */
const MAX_WATCH_FAILURES = 3

export class Reflector {
  readonly #options: ReflectorOptions
  readonly #pause = new Pause()
  #version: string | undefined
  #pageSize: number
  #failing: Failing | undefined
  #listed = false

  constructor(options: ReflectorOptions) {
    this.#options = options
    this.#pageSize = options.pageSize
  }

  get failing(): Failing | undefined {
    return this.#failing
  }

  /** The resource was listed once: what the store holds is a state that was. */
  get listed(): boolean {
    return this.#listed
  }

  /** Tries at once instead of after its back-off. */
  wake(): void {
    this.#pause.wake()
  }

  /** Resolves when the signal is aborted; never rejects. */
  async run(): Promise<void> {
    const { signal, random, backoff } = this.#options
    let failures = 0
    while (!signal.aborted) {
      const verb = this.#version === undefined ? 'list' : 'watch'
      const { progress, error } = this.#version === undefined ? await this.#tryList() : await this.#watch(this.#version)
      if (signal.aborted) return
      // A list alone is no progress: with a watch that never works it would be done again and again.
      if (verb === 'list' && error === undefined) continue
      if (progress) failures = 0
      if (error !== undefined) this.#failed(error, verb, failures + 1)
      const relist = failures === 0 && error !== undefined && isExpired(error)
      if (!progress || error !== undefined) failures++
      if (relist) continue
      if (failures === 0) {
        // When a server stops, all nodes come back: not in one moment.
        await this.#pause.wait(random() * backoff.baseMs, signal)
        continue
      }
      // What the server asks for is the least: all nodes were asked for the same.
      const asked = Math.min(error?.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS)
      await this.#pause.wait(asked + backoffMs(failures, random(), backoff), signal)
    }
  }

  async #tryList(): Promise<Attempt> {
    try {
      this.#version = await this.#list()
    } catch (thrown) {
      return { progress: false, error: kubernetesError(thrown) }
    }
    this.#settled()
    this.#listed = true
    this.#options.onListed()
    return { progress: true }
  }

  async #list(): Promise<string> {
    const { api, path, fieldSelector, signal, store, onAnswer } = this.#options
    let replacement: ReturnType<ObjectStore['begin']> | undefined
    let from: string | undefined
    for (;;) {
      const query = { fieldSelector, limit: this.#pageSize > 0 ? this.#pageSize : undefined, continue: from }
      const answer = await api.request('GET', path(), {
        query,
        timeoutMs: LIST_TIMEOUT_MS,
        maxBytes: MAX_PAGE_BYTES,
        signal,
      })
      const page = readPage(answer)
      if (page === undefined || (page.next !== '' && page.next === from)) throw malformed('the answer is no list')
      onAnswer()
      replacement ??= store.begin(page.shared)
      for (const item of page.items) replacement.add(item)
      if (page.next === '') {
        replacement.commit(page.version)
        this.#pageSize = this.#options.pageSize
        return page.version
      }
      from = page.next
    }
  }

  /** Progress: something was told, or the stream stayed open for a while. */
  async #watch(version: string): Promise<Attempt> {
    const { api, path, fieldSelector, signal, random, watchSeconds, onAnswer } = this.#options
    const timeoutSeconds = Math.round(watchSeconds * (0.75 + random() / 2))
    let opened = false
    let progress = false
    const proceed = (): void => {
      progress = true
      this.#settled()
    }
    using timers = new DisposableStack()
    try {
      await api.watch(path(), {
        query: { fieldSelector, resourceVersion: version, allowWatchBookmarks: true, timeoutSeconds },
        timeoutMs: timeoutSeconds * 1000 + WATCH_GRACE_MS,
        signal,
        onOpen: () => {
          opened = true
          onAnswer()
          timers.use(startTimer(SHORT_WATCH_MS, proceed))
        },
        onEvent: (event) => {
          this.#take(event)
          onAnswer()
          proceed()
        },
      })
      return { progress }
    } catch (thrown) {
      const error = kubernetesError(thrown)
      // A stream that was cut is one that ended, as long as another can be had.
      return error.reason === 'Unreachable' && opened ? { progress } : { progress, error }
    }
  }

  #take({ type, object }: WatchEvent): void {
    const { store } = this.#options
    if (type === 'ERROR') throw statusError(object)
    try {
      if (type === 'ADDED' || type === 'MODIFIED') store.put(object)
      else if (type === 'DELETED') store.remove(object)
    } catch (thrown) {
      throw kubernetesError(thrown)
    }
    const metadata = object['metadata']
    const version = isFields(metadata) ? metadata['resourceVersion'] : undefined
    if (typeof version === 'string' && version !== '') this.#version = version
  }

  #failed(error: KubernetesError, verb: Failing['verb'], failures: number): void {
    if (isExpired(error)) {
      // The list took longer than the server remembers: fewer, larger pages.
      if (verb === 'list') this.#pageSize = this.#pageSize > 5000 ? 0 : this.#pageSize * 4
      this.#version = undefined
    } else if (error.reason === 'TooLarge' && verb === 'list') {
      this.#pageSize = Math.max(1, Math.floor((this.#pageSize || this.#options.pageSize) / 4))
    } else if (isAheadOfServer(error) || (failures % MAX_WATCH_FAILURES === 0 && mayBeTheVersion(error))) {
      this.#version = undefined
    }
    if (isExpired(error) && failures <= 1) return
    const before = this.#failing
    const isNew = before?.error.status !== error.status
    this.#failing = { error, verb, failures, isNew, since: before?.since ?? this.#options.now() }
    this.#options.onState(this.#failing)
  }

  #settled(): void {
    if (this.#failing === undefined) return
    this.#failing = undefined
    this.#options.onState(undefined)
  }
}

interface Attempt {
  readonly progress: boolean
  readonly error?: KubernetesError
}

interface Page {
  readonly items: readonly unknown[]
  readonly version: string
  /** Empty on the last page. */
  readonly next: string
  readonly shared: Readonly<Record<string, unknown>>
}

function readPage(answer: unknown): Page | undefined {
  if (!isFields(answer) || typeof answer['kind'] !== 'string' || !answer['kind'].endsWith('List')) return undefined
  const { metadata, items, apiVersion } = answer
  if (!isFields(metadata) || typeof metadata['resourceVersion'] !== 'string') return undefined
  if (!Array.isArray(items) && items !== null) return undefined
  const next = metadata['continue']
  return {
    items: items ?? [],
    version: metadata['resourceVersion'],
    next: typeof next === 'string' ? next : '',
    shared: { apiVersion, kind: answer['kind'].slice(0, -'List'.length) },
  }
}

function statusError(status: Readonly<Record<string, unknown>>): KubernetesError {
  const { code, reason, message, details } = status
  const seconds = isFields(details) ? details['retryAfterSeconds'] : undefined
  return new KubernetesError({
    status: typeof code === 'number' ? code : 500,
    reason: typeof reason === 'string' ? reason : 'InternalError',
    message: `the watch was ended: ${typeof message === 'string' ? message : 'no reason given'}`,
    ...(typeof seconds === 'number' ? { retryAfterMs: seconds * 1000 } : {}),
  })
}

function isExpired({ status, reason }: KubernetesError): boolean {
  return status === 410 || reason === 'Expired' || reason === 'Gone'
}

/** As after a restore of its database: our version is one that the server has yet to reach. */
function isAheadOfServer({ message }: KubernetesError): boolean {
  return message.includes('Too large resource version')
}

function mayBeTheVersion(error: KubernetesError): boolean {
  return error.status !== 0 && error.status !== 429 && !error.isOutage
}

function kubernetesError(thrown: unknown): KubernetesError {
  if (thrown instanceof KubernetesError) return thrown
  return new KubernetesError({ status: 200, reason: 'Malformed', message: errorLine(thrown), cause: thrown })
}

function malformed(message: string): KubernetesError {
  return new KubernetesError({ status: 200, reason: 'Malformed', message })
}
