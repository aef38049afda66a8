/**
 * One agent of the cluster at a time holds a Lease (coordination.k8s.io/v1) and does what only one should do. As in
 * Kubernetes' own leader election, a holder is gone when its entry has not changed for the lease's duration as seen
 * by the looker's own clock: clocks are not compared.
 */
import { type KubernetesApi, KubernetesError } from '#kubernetes'

export interface LeaseOptions {
  readonly api: Pick<KubernetesApi, 'request'>
  readonly namespace: string
  readonly name: string
  /** Unlike any other's. */
  readonly holder: string
  readonly durationMs: number
  /** Monotonic, ms. */
  now(): number
  /** Of the clock on the wall, ms since the epoch: for people only. */
  date(): number
}

interface LeaseSpec {
  readonly holderIdentity?: string | null
  readonly leaseDurationSeconds?: number | null
  readonly acquireTime?: string | null
  readonly renewTime?: string | null
  readonly leaseTransitions?: number | null
}

interface LeaseObject {
  readonly metadata: { readonly resourceVersion?: string }
  readonly spec?: LeaseSpec
}

export class Lease {
  readonly #options: LeaseOptions
  readonly #collection: string
  /** The other holder's entry as last seen, and since when it has been that. */
  #seen: { readonly entry: string; readonly since: number } | undefined
  #heldUntil = Number.NEGATIVE_INFINITY

  constructor(options: LeaseOptions) {
    this.#options = options
    this.#collection = `/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`
  }

  /** Whether it is ours for now, by what was last heard. */
  get held(): boolean {
    return this.#options.now() < this.#heldUntil
  }

  /**
   * Takes the lease when it is free, keeps it when it is ours.
   * @returns whether it is ours
   * @throws KubernetesError when the API server cannot be asked; what was held stays held until it ends
   */
  async renew(): Promise<boolean> {
    const { api, name, namespace, now, durationMs } = this.#options
    const asked = now()
    const path = `${this.#collection}/${name}`
    try {
      const found = await read(api, path)
      if (found === undefined) {
        const body = { ...KIND, metadata: { namespace, name }, spec: this.#entry({}) }
        await api.request('POST', this.#collection, { body })
      } else {
        const spec = found.spec ?? {}
        if (!this.#mayTake(spec, asked)) {
          this.#heldUntil = Number.NEGATIVE_INFINITY
          return false
        }
        const metadata = { namespace, name, ...found.metadata }
        await api.request('PUT', path, { body: { ...KIND, metadata, spec: this.#entry(spec) } })
      }
    } catch (thrown) {
      // Another one was quicker.
      if (!(thrown instanceof KubernetesError && thrown.status === 409)) throw thrown
      this.#heldUntil = Number.NEGATIVE_INFINITY
      return false
    }
    this.#heldUntil = asked + durationMs
    return true
  }

  /** Leaves it to the next at once. Best effort. */
  async release(): Promise<void> {
    if (!this.held) return
    this.#heldUntil = Number.NEGATIVE_INFINITY
    const { api, name, namespace, holder } = this.#options
    const path = `${this.#collection}/${name}`
    const found = await read(api, path)
    if (found?.spec?.holderIdentity !== holder) return
    const spec = { ...found.spec, holderIdentity: '', leaseDurationSeconds: 1 }
    await api.request('PUT', path, { body: { ...KIND, metadata: { namespace, name, ...found.metadata }, spec } })
  }

  #mayTake(spec: LeaseSpec, nowMs: number): boolean {
    const { holder, durationMs } = this.#options
    if (spec.holderIdentity === holder || !spec.holderIdentity) return true
    const entry = `${spec.holderIdentity} ${spec.renewTime ?? ''} ${spec.leaseTransitions ?? 0}`
    if (this.#seen?.entry !== entry) this.#seen = { entry, since: nowMs }
    const lasts = (spec.leaseDurationSeconds ?? durationMs / 1000) * 1000
    return nowMs - this.#seen.since >= lasts
  }

  #entry(before: LeaseSpec): LeaseSpec {
    const { holder, durationMs, date } = this.#options
    const time = new Date(date()).toISOString().replace('Z', '000Z')
    const kept = before.holderIdentity === holder
    return {
      holderIdentity: holder,
      leaseDurationSeconds: Math.ceil(durationMs / 1000),
      acquireTime: kept ? (before.acquireTime ?? time) : time,
      renewTime: time,
      leaseTransitions: (before.leaseTransitions ?? 0) + (kept ? 0 : 1),
    }
  }
}

const KIND = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' }

async function read(api: Pick<KubernetesApi, 'request'>, path: string): Promise<LeaseObject | undefined> {
  try {
    return (await api.request('GET', path)) as LeaseObject
  } catch (thrown) {
    if (thrown instanceof KubernetesError && thrown.status === 404) return undefined
    throw thrown
  }
}
