/**
 * The ConfigMaps that BackendTLSPolicies name, asked for one by one and again every so often: so that the agent needs no
 * permission to list ConfigMaps, or to watch them. What cannot be asked for now keeps its last known state.
 */
import { type KubernetesApi, KubernetesError } from '#kubernetes'
import { type ConfigMapObject, isInvalid, type KubernetesObject, parseObject } from '#resources'
import { Pause } from './pause.ts'

/** Of one cluster; more policies than that are somebody's mistake. */
const MAX_NAMES = 1000

export interface NamedConfigMapsOptions {
  readonly api: Pick<KubernetesApi, 'request'>
  readonly periodMs: number
  readonly answerTimeoutMs: number
  readonly signal: AbortSignal
  readonly onChange: () => void
}

export class NamedConfigMaps {
  readonly #options: NamedConfigMapsOptions
  readonly #known = new Map<string, ConfigMapObject>()
  readonly #pause = new Pause()
  #wanted: ReadonlySet<string> = new Set()
  #running: Promise<void> | undefined

  constructor(options: NamedConfigMapsOptions) {
    this.#options = options
  }

  /** Those that are wanted and there. */
  get objects(): readonly ConfigMapObject[] {
    return [...this.#known.values()]
  }

  /** Looks which ones `objects` name, and asks for the new ones at once. */
  follow(objects: readonly KubernetesObject[]): void {
    const wanted = new Set<string>()
    for (const object of objects) {
      if (isInvalid(object) || object.kind !== 'BackendTLSPolicy') continue
      for (const { kind, name } of object.spec.validation.caCertificateRefs) {
        if (kind === 'ConfigMap' && wanted.size < MAX_NAMES) wanted.add(`${object.metadata.namespace}/${name}`)
      }
    }
    const isNew = [...wanted].some((name) => !this.#wanted.has(name))
    this.#wanted = wanted
    for (const name of this.#known.keys()) if (!wanted.has(name)) this.#known.delete(name)
    if (wanted.size === 0 || this.#options.signal.aborted) return
    if (this.#running === undefined) this.#running = this.#run()
    else if (isNew) this.#pause.wake()
  }

  async ended(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal, periodMs, onChange } = this.#options
    while (!signal.aborted) {
      let changed = false
      for (const name of [...this.#wanted]) changed = (await this.#ask(name)) || changed
      if (signal.aborted) return
      if (changed) onChange()
      const asked = [...this.#wanted].every((name) => this.#known.has(name))
      await this.#pause.wait(asked ? periodMs : Math.min(periodMs, 5_000), signal)
    }
  }

  /** @returns whether it is other than it was */
  async #ask(key: string): Promise<boolean> {
    const { api, answerTimeoutMs, signal } = this.#options
    const [namespace = '', name = ''] = key.split('/')
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps/${encodeURIComponent(name)}`
    try {
      const answer = await api.request('GET', path, { timeoutMs: answerTimeoutMs, signal })
      const outcome = parseObject({ ...(answer as object), apiVersion: 'v1', kind: 'ConfigMap' })
      if (outcome.kind !== 'object' || outcome.object.kind !== 'ConfigMap') return false
      const before = this.#known.get(key)
      if (before !== undefined && JSON.stringify(before.data) === JSON.stringify(outcome.object.data)) return false
      if (this.#wanted.has(key)) this.#known.set(key, outcome.object)
      return true
    } catch (thrown) {
      if (!(thrown instanceof KubernetesError) || thrown.status !== 404) return false
      return this.#known.delete(key)
    }
  }
}
