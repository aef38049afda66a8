/** The same value for the same object, so that what follows can tell what changed by looking. */
import type { KubernetesObject } from '#resources'

/** `last` when `next` says the same, else `next`. */
export function unchangedOr(last: KubernetesObject | undefined, next: KubernetesObject): KubernetesObject {
  return last !== undefined && last !== next && JSON.stringify(last) === JSON.stringify(next) ? last : next
}
