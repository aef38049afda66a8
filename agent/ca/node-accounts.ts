/** Which service accounts are in use on which node: those of the pods that the node's agent enrols. */
import { enrolments } from '#mesh/compile'
import type { KubernetesObject } from '#resources'

export class NodeAccounts {
  #objects: readonly KubernetesObject[] = []
  /** Worked out when a node first asks, until the objects change. */
  readonly #byNode = new Map<string, ReadonlySet<string>>()

  update(objects: readonly KubernetesObject[]): void {
    this.#objects = objects
    this.#byNode.clear()
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
