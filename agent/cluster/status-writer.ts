/**
 * Writes what became of routes and policies into their `status`. One agent of the cluster does it (see `Lease`), one
 * object after the other, and only where something changed; what cannot be written is tried again.
 */
import { backoffMs, errorLine } from '#base'
import { type KubernetesApi, KubernetesError } from '#kubernetes'
import type { ObjectStatus } from '#mesh/compile'
import type { Lease } from './lease.ts'
import { type PresentStatus, patchFor } from './object-status.ts'

export interface StatusWriterOptions {
  readonly api: Pick<KubernetesApi, 'request'>
  readonly lease: Lease
  /** Between two looks at the lease, ms; shorter than half of its duration. */
  readonly periodMs: number
  warn(line: string): void
  info(line: string): void
  /** ms since the epoch. */
  date(): number
}

/** Between two requests: nobody waits for a status, and the API server has others to serve. */
const PAUSE_MS = 20
/** Judging that takes longer is given one part in so many of the time. */
const QUICK_MS = 50
const JUDGE_SHARE = 50
const AGAIN = { baseMs: 1_000, maxMs: 60_000 }

/** Resource names by kind; a kind without one has no status of ours. */
const RESOURCES: Readonly<Record<string, string>> = {
  HTTPRoute: 'httproutes',
  GRPCRoute: 'grpcroutes',
  TLSRoute: 'tlsroutes',
  TCPRoute: 'tcproutes',
  BackendTLSPolicy: 'backendtlspolicies',
  AuthorizationPolicy: 'authorizationpolicies',
  PeerAuthentication: 'peerauthentications',
  RequestAuthentication: 'requestauthentications',
  TrafficPolicy: 'trafficpolicies',
}
const VERSIONS: Readonly<Record<string, string>> = { 'weir.dev': 'v1alpha1' }

export class StatusWriter implements AsyncDisposable {
  readonly #options: StatusWriterOptions
  readonly #closing = new AbortController()
  /** What is to be said of each object, by its path, and what was written, as text. */
  #said: ReadonlyMap<string, ObjectStatus> = new Map()
  readonly #written = new Map<string, string>()
  /** What it took last. */
  #judgeMs = 0
  #judge: (() => readonly ObjectStatus[]) | undefined
  #wake = Promise.withResolvers<void>()
  readonly #running: Promise<void>
  #held = false
  #told = ''

  constructor(options: StatusWriterOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  /** `judge` is asked only where this agent is the one that writes. */
  update(judge: () => readonly ObjectStatus[]): void {
    this.#judge = judge
    this.#wake.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#wake.resolve()
    await this.#running
    await this.#options.lease.release().catch(() => undefined)
  }

  async #run(): Promise<void> {
    const { periodMs } = this.#options
    let failures = 0
    let renewAt = Number.NEGATIVE_INFINITY
    while (!this.#closing.signal.aborted) {
      let waitMs = periodMs
      try {
        if (performance.now() >= renewAt) {
          await this.#renew()
          renewAt = performance.now() + periodMs
        }
        this.#wake = Promise.withResolvers()
        const whole = !this.#held || (await this.#writeAll())
        waitMs = whole ? Math.max(0, renewAt - performance.now()) : backoffMs(++failures, Math.random(), AGAIN)
        if (whole) [failures, this.#told] = [0, '']
      } catch (thrown) {
        waitMs = backoffMs(++failures, Math.random(), AGAIN)
        this.#tell(`Cannot write the status of routes and policies: ${errorLine(thrown)}`)
      }
      // In a large cluster judging takes long, and nobody waits for it.
      if (this.#judgeMs > QUICK_MS) await this.#pause(Math.min(periodMs / 2, this.#judgeMs * JUDGE_SHARE))
      await Promise.race([this.#pause(waitMs), this.#held ? this.#wake.promise : never])
    }
  }

  async #renew(): Promise<void> {
    const held = await this.#options.lease.renew()
    if (held === this.#held) return
    this.#held = held
    // Another one may have written since.
    this.#written.clear()
    if (held) this.#options.info('this agent writes the status of routes and policies')
  }

  /** False when something is left to be tried again. */
  async #writeAll(): Promise<boolean> {
    let whole = true
    if (this.#judge !== undefined) {
      const begun = performance.now()
      this.#said = new Map(this.#judge().map((status) => [pathOf(status) ?? '', status]))
      this.#judge = undefined
      this.#judgeMs = performance.now() - begun
    }
    for (const path of this.#written.keys()) if (!this.#said.has(path)) this.#written.delete(path)
    for (const [path, said] of this.#said) {
      if (this.#closing.signal.aborted || !this.#options.lease.held) return true
      const text = JSON.stringify(said)
      if (path === '' || this.#written.get(path) === text) continue
      try {
        await this.#write(path, said)
        this.#written.set(path, text)
      } catch (thrown) {
        if (!(thrown instanceof KubernetesError) || thrown.isOutage) throw thrown
        // Deleted meanwhile: its event will come. Changed meanwhile: so will that.
        if (thrown.status === 404) this.#written.set(path, text)
        else whole = false
        if (thrown.status !== 404 && thrown.status !== 409) {
          this.#tell(`Cannot write the status of ${said.kind} ${said.namespace}/${said.name}: ${errorLine(thrown)}`)
        }
      }
      await this.#pause(PAUSE_MS)
    }
    return whole
  }

  async #write(path: string, said: ObjectStatus): Promise<void> {
    const { api, date } = this.#options
    const found = (await api.request('GET', path)) as {
      readonly metadata?: { readonly resourceVersion?: string; readonly generation?: number }
      readonly status?: PresentStatus | null
    }
    // What is said is of an older state: what there is to say of the newer one comes with its event.
    const { resourceVersion, generation } = found.metadata ?? {}
    if (said.generation !== undefined && generation !== undefined && generation > said.generation) return
    const nowText = new Date(date()).toISOString().replace(/\.\d+Z$/, 'Z')
    const status = patchFor(said, found.status ?? {}, nowText)
    if (status === undefined) return
    await api.request('PATCH', `${path}/status`, {
      body: { metadata: { resourceVersion }, status },
      contentType: 'application/merge-patch+json',
    })
  }

  /** The same line not twice in a row. */
  #tell(line: string): void {
    if (line === this.#told) return
    this.#told = line
    this.#options.warn(line)
  }

  #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { signal } = this.#closing
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    timer.unref()
    if (signal.aborted) end()
    else signal.addEventListener('abort', end)
    return promise
  }
}

const never = new Promise<void>(() => undefined)

function pathOf({ group, kind, namespace, name }: ObjectStatus): string | undefined {
  const resource = RESOURCES[kind]
  if (resource === undefined) return undefined
  return `/apis/${group}/${VERSIONS[group] ?? 'v1'}/namespaces/${namespace}/${resource}/${name}`
}
