/** Which service accounts are in use on which node: those of the pods that the node's agent enrols. */
import { enrolments } from '#mesh/compile'
import type { KubernetesObject } from '#resources'

/** Agent and CA watch the cluster each by itself. */
const HEARD_BEFORE_US_MS = 2_000

export class NodeAccounts {
  #objects: readonly KubernetesObject[] = []
  /** Worked out when a node first asks, until the objects change. */
  readonly #byNode = new Map<string, ReadonlySet<string>>()

  #changed = Promise.withResolvers<void>()

  update(objects: readonly KubernetesObject[]): void {
    this.#objects = objects
    this.#byNode.clear()
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** As `runsOn`, but a pod of which the asking node has heard before us is waited for. */
  async willRunOn(node: string, namespace: string, serviceAccount: string): Promise<boolean> {
    const signal = AbortSignal.timeout(HEARD_BEFORE_US_MS)
    const late = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    while (!this.runsOn(node, namespace, serviceAccount)) {
      if (signal.aborted) return false
      await Promise.race([this.#changed.promise, late])
    }
    return true
  }

  runsOn(node: string, namespace: string, serviceAccount: string): boolean {
    const known = this.#byNode.get(node) ?? this.#accountsOf(node)
    this.#byNode.set(node, known)
    return known.has(`${namespace}/${serviceAccount}`)
  }

  #accountsOf(node: string): ReadonlySet<string> {
    const { enrolments: pods } = enrolments(this.#objects, node)
    return new Set(pods.map((pod) => `${pod.namespace}/${pod.serviceAccount}`))
  }
}
