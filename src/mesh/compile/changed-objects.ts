/** What is not in both of two lists of objects, told by identity: objects that did not change are the same values. */
import type { KubernetesObject } from '#resources'

export interface ChangedObjects {
  readonly removed: readonly KubernetesObject[]
  readonly added: readonly KubernetesObject[]
}

/** Costs a comparison for each object that stands where it stood, more for those between the first and last change. */
export function changedObjects(
  before: readonly KubernetesObject[],
  after: readonly KubernetesObject[],
): ChangedObjects {
  let start = 0
  while (start < before.length && start < after.length && before[start] === after[start]) start++
  let [endBefore, endAfter] = [before.length, after.length]
  while (endBefore > start && endAfter > start && before[endBefore - 1] === after[endAfter - 1]) {
    endBefore--
    endAfter--
  }
  const was = new Set<KubernetesObject>()
  const is = new Set<KubernetesObject>()
  for (let i = start; i < endBefore || i < endAfter; i++) {
    const one = i < endBefore ? before[i] : undefined
    const other = i < endAfter ? after[i] : undefined
    if (one === other) continue
    if (one !== undefined) was.add(one)
    if (other !== undefined) is.add(other)
  }
  return {
    removed: [...was].filter((object) => !is.has(object)),
    added: [...is].filter((object) => !was.has(object)),
  }
}
