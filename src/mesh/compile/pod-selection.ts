/** Which pods a selector of labels finds, without looking at all of them: what many Services ask of many pods. */
import type { PodObject } from '#resources'

export type LabelSelector = Readonly<Record<string, string>>

const NONE: readonly PodObject[] = []

export class PodSelection {
  readonly #byLabel = new Map<string, PodObject[]>()
  readonly #byNamespace: ReadonlyMap<string, readonly PodObject[]>

  constructor(pods: readonly PodObject[]) {
    this.#byNamespace = Map.groupBy(pods, (pod) => pod.metadata.namespace)
    for (const pod of pods) {
      const { namespace, labels } = pod.metadata
      for (const name in labels) {
        const key = keyOf(namespace, name, labels[name])
        const found = this.#byLabel.get(key)
        if (found === undefined) this.#byLabel.set(key, [pod])
        else found.push(pod)
      }
    }
  }

  /** All pods of a namespace, in their order. */
  of(namespace: string): readonly PodObject[] {
    return this.#byNamespace.get(namespace) ?? NONE
  }

  /** Those that have all the labels, in their order; all of the namespace for no label. */
  select(namespace: string, selector: LabelSelector): readonly PodObject[] {
    const wanted = Object.entries(selector)
    let fewest = wanted.length === 0 ? this.of(namespace) : undefined
    for (const [name, value] of wanted) {
      const found = this.#byLabel.get(keyOf(namespace, name, value)) ?? NONE
      if (fewest === undefined || found.length < fewest.length) fewest = found
    }
    if (wanted.length <= 1) return fewest ?? NONE
    return (fewest ?? NONE).filter(({ metadata: { labels } }) =>
      wanted.every(([name, value]) => labels[name] === value),
    )
  }

  /** Likewise in all namespaces. */
  selectAnywhere(selector: LabelSelector): boolean {
    return [...this.#byNamespace.keys()].some((namespace) => this.select(namespace, selector).length > 0)
  }
}

function keyOf(namespace: string, name: string, value: string | undefined): string {
  return `${namespace}\0${name}\0${value}`
}
