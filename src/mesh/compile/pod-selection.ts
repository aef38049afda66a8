/** Which pods a selector of labels finds, without looking at all of them: what many Services ask of many pods. */
import type { PodObject } from '#resources'

export type LabelSelector = Readonly<Record<string, string>>

const NONE: ReadonlySet<PodObject> = new Set()

export class PodSelection {
  readonly #byLabel = new Map<string, Set<PodObject>>()
  readonly #byNamespace = new Map<string, Set<PodObject>>()

  constructor(pods: readonly PodObject[]) {
    for (const pod of pods) this.add(pod)
  }

  add(pod: PodObject): void {
    const { namespace, labels } = pod.metadata
    put(this.#byNamespace, namespace, pod)
    for (const name in labels) put(this.#byLabel, labelKey(namespace, name, labels[name]), pod)
  }

  remove(pod: PodObject): void {
    const { namespace, labels } = pod.metadata
    take(this.#byNamespace, namespace, pod)
    for (const name in labels) take(this.#byLabel, labelKey(namespace, name, labels[name]), pod)
  }

  /** Those that have all the labels, in their order; all of the namespace for no label. */
  select(namespace: string, selector: LabelSelector): readonly PodObject[] {
    const wanted = Object.entries(selector)
    let fewest: ReadonlySet<PodObject> | undefined = wanted.length === 0 ? this.#byNamespace.get(namespace) : undefined
    for (const [name, value] of wanted) {
      const found = this.#byLabel.get(labelKey(namespace, name, value)) ?? NONE
      if (fewest === undefined || found.size < fewest.size) fewest = found
    }
    const chosen = [...(fewest ?? NONE)]
    if (wanted.length <= 1) return chosen
    return chosen.filter(({ metadata: { labels } }) => wanted.every(([name, value]) => labels[name] === value))
  }

  /** Whether there is one in any namespace. */
  selectAnywhere(selector: LabelSelector, isMeant: (pod: PodObject) => boolean): boolean {
    return [...this.#byNamespace.keys()].some((namespace) => this.select(namespace, selector).some(isMeant))
  }
}

function put(map: Map<string, Set<PodObject>>, key: string, pod: PodObject): void {
  const found = map.get(key)
  if (found === undefined) map.set(key, new Set([pod]))
  else found.add(pod)
}

function take(map: Map<string, Set<PodObject>>, key: string, pod: PodObject): void {
  const found = map.get(key)
  if (found?.delete(pod) === true && found.size === 0) map.delete(key)
}

/** One label of the pods of one namespace. */
export function labelKey(namespace: string, name: string, value: string | undefined): string {
  return `${namespace}\0${name}\0${value}`
}
