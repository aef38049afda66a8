/** Tells of pods that could not be enrolled as Events on them: `kubectl describe pod` shows why. */
import { createHash } from 'node:crypto'
import { errorLine } from '#base'
import { type KubernetesApi, KubernetesError } from '#kubernetes'

export interface PodTrouble {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  /** One line. */
  readonly why: string
}

export interface PodEventsOptions {
  readonly api: Pick<KubernetesApi, 'request'>
  readonly node: string
  warn(line: string): void
  /** ms since the epoch. */
  date(): number
}

/** The same trouble is told again after this. */
const AGAIN_MS = 10 * 60_000
/** As the API server allows. */
const MAX_MESSAGE_CHARACTERS = 1024

export class PodEvents {
  readonly #options: PodEventsOptions
  /** By event name: when it was last told, and how often. */
  readonly #told = new Map<string, { atMs: number; readonly uid: string; count: number }>()
  #telling: Promise<void> = Promise.resolve()

  constructor(options: PodEventsOptions) {
    this.#options = options
  }

  /** Call it with all pods in trouble, as often as you like. Resolves when all was told that is due. */
  update(troubles: readonly PodTrouble[]): Promise<void> {
    const uids = new Set(troubles.map(({ uid }) => uid))
    for (const [name, { uid }] of this.#told) if (!uids.has(uid)) this.#told.delete(name)
    this.#telling = this.#telling.then(async () => {
      for (const trouble of troubles) await this.#tell(trouble)
    })
    return this.#telling
  }

  async #tell({ uid, namespace, name, why }: PodTrouble): Promise<void> {
    const { api, node, warn, date } = this.#options
    const eventName = `${name.slice(0, 230)}.${createHash('sha256').update(`${uid} ${why}`).digest('hex').slice(0, 16)}`
    const before = this.#told.get(eventName)
    const nowMs = date()
    if (before !== undefined && nowMs - before.atMs < AGAIN_MS) return
    const count = (before?.count ?? 0) + 1
    // Also when it fails: an event is not worth a storm of requests.
    this.#told.set(eventName, { atMs: nowMs, uid, count })
    const collection = `/api/v1/namespaces/${namespace}/events`
    const lastTimestamp = new Date(nowMs).toISOString().replace(/\.\d+Z$/, 'Z')
    const body = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { namespace, name: eventName },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, name, uid },
      type: 'Warning',
      reason: 'EnrolmentFailed',
      message: `Not in the mesh: ${why}`.slice(0, MAX_MESSAGE_CHARACTERS),
      source: { component: 'weir-agent', host: node },
      reportingComponent: 'weir.dev/agent',
      reportingInstance: node,
      firstTimestamp: lastTimestamp,
      lastTimestamp,
      count,
    }
    try {
      if (count === 1) {
        try {
          await api.request('POST', collection, { body })
          return
        } catch (thrown) {
          // Told by an agent before this one.
          if (!(thrown instanceof KubernetesError && thrown.status === 409)) throw thrown
        }
      }
      const contentType = 'application/merge-patch+json'
      await api.request('PATCH', `${collection}/${eventName}`, { body: { lastTimestamp, count }, contentType })
    } catch (thrown) {
      warn(`Cannot write an Event on Pod ${namespace}/${name}: ${errorLine(thrown)}`)
    }
  }
}
