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
  const removed: KubernetesObject[] = []
  const added: KubernetesObject[] = []
  if (before.length === after.length) {
    for (let i = 0; i < after.length; i++) {
      const [one, other] = [before[i], after[i]]
      if (one === other || one === undefined || other === undefined) continue
      removed.push(one)
      added.push(other)
    }
    if (removed.length <= 2) return { removed, added }
  }
  let start = 0
  while (start < before.length && start < after.length && before[start] === after[start]) start++
  let [endBefore, endAfter] = [before.length, after.length]
  while (endBefore > start && endAfter > start && before[endBefore - 1] === after[endAfter - 1]) {
    endBefore--
    endAfter--
  }
  const was = new Set(before.slice(start, endBefore))
  const is = new Set(after.slice(start, endAfter))
  return {
    removed: [...was].filter((object) => !is.has(object)),
    added: [...is].filter((object) => !was.has(object)),
  }
}
