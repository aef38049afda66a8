/** What an agent tells the cluster: the status of routes and policies, and pods that could not be enrolled. */
import { randomBytes } from 'node:crypto'
import { startInterval } from '#base'
import type { ObjectChange } from '#discovery'
import type { KubernetesApi } from '#kubernetes'
import { conditionsOf, ROOT_NAMESPACE_DEFAULT } from '#mesh/compile'
import type { KubernetesObject } from '#resources'
import type { AgentLog } from '../log.ts'
import { Lease } from './lease.ts'
import { PodEvents, type PodTrouble } from './pod-events.ts'
import { StatusWriter } from './status-writer.ts'

export interface ClusterSideOptions {
  readonly api: KubernetesApi
  readonly node: string
  readonly log: AgentLog
  /** Those that should be enrolled and are not. */
  troubles(): readonly PodTrouble[]
}

const LEASE_MS = 60_000
const LOOK_MS = 20_000
const EVENTS_MS = 5_000
/** A lease that cannot be given back ends by itself. */
const LEAVE_MS = 1_000

export class ClusterSide implements AsyncDisposable {
  readonly #writer: StatusWriter
  readonly #events: Disposable
  /** What judging looks at: undefined until it is asked for, which is by one agent of the cluster. */
  #judged: Set<KubernetesObject> | undefined

  constructor({ api, node, log, troubles }: ClusterSideOptions) {
    const warn = (problem: string) => log.warn({ problem }, 'problem')
    const lease = new Lease({
      api,
      namespace: process.env['POD_NAMESPACE'] ?? ROOT_NAMESPACE_DEFAULT,
      name: 'weir-status',
      // Of two agents of one node, during an upgrade, one holds it.
      holder: `${node}_${randomBytes(4).toString('hex')}`,
      durationMs: LEASE_MS,
      now: () => performance.now(),
      date: Date.now,
    })
    this.#writer = new StatusWriter({
      api,
      lease,
      periodMs: LOOK_MS,
      warn,
      info: (line) => log.info({}, line),
      date: Date.now,
    })
    const events = new PodEvents({ api, node, warn, date: Date.now })
    this.#events = startInterval(EVENTS_MS, () => void events.update(troubles()))
  }

  /** @param change from the objects before, where it is known: of pods and their addresses there is nothing to write */
  update(objects: readonly KubernetesObject[], change?: ObjectChange): void {
    if (change === undefined) this.#judged = undefined
    else {
      const [removed, added] = [change.removed.filter(isJudgedBy), change.added.filter(isJudgedBy)]
      if (removed.length + added.length === 0) return
      for (const object of removed) this.#judged?.delete(object)
      for (const object of added) this.#judged?.add(object)
    }
    this.#writer.update(() => {
      this.#judged ??= new Set(objects.filter(isJudgedBy))
      return conditionsOf([...this.#judged])
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#events[Symbol.dispose]()
    const late = new Promise<void>((resolve) => setTimeout(resolve, LEAVE_MS).unref())
    await Promise.race([this.#writer[Symbol.asyncDispose](), late])
  }
}

/** Nearly all objects of a cluster are of these. */
const NOT_JUDGED_BY: ReadonlySet<string> = new Set([
  'Pod',
  'EndpointSlice',
  'ServiceAccount',
  'Namespace',
  'Node',
  'ConfigMap',
])

/** Whether status may depend on it. */
function isJudgedBy({ kind }: KubernetesObject): boolean {
  return !NOT_JUDGED_BY.has(kind)
}
