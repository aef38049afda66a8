/**
 * A source that tells what changed, followed with what the runtime told laid over: objects of other nodes, nearly all,
 * are handed on as they come; only those near are looked at each time.
 */
import { ANNOTATION } from '#contract'
import { type ObjectChange, ObjectSet } from '#discovery'
import type { KubernetesObject, PodObject } from '#resources'
import { type OverlayOptions, podKey } from './overlay.ts'

/** What is laid over those near. */
export interface NearLaid {
  readonly laid: readonly KubernetesObject[]
  /** Names of pods that the source does not show yet: an older one of that name, wherever it is, is gone. */
  readonly early: ReadonlySet<string>
}

export class LaidSet {
  readonly #options: OverlayOptions
  readonly #set = new ObjectSet()
  /** Pods that what was told of pods may concern. */
  readonly #near = new Set<KubernetesObject>()
  #laid: ReadonlySet<KubernetesObject> = new Set()
  #early: ReadonlySet<string> = new Set()
  /** Pods that are not near and have gone for one that is early. */
  #hidden = new Set<KubernetesObject>()

  constructor(options: OverlayOptions) {
    this.#options = options
  }

  /**
   * @param objects of the source, as they are after `change`
   * @param layOver given those near
   */
  follow(
    objects: readonly KubernetesObject[],
    { removed, added }: ObjectChange,
    layOver: (near: readonly KubernetesObject[]) => NearLaid,
  ): { readonly objects: readonly KubernetesObject[]; readonly change: ObjectChange } {
    for (const object of removed) {
      if (!this.#near.delete(object) && !this.#hidden.delete(object)) this.#set.remove(object)
    }
    for (const object of added) {
      if (isNear(object, this.#options)) this.#near.add(object)
      else if (isOneOf(object, this.#early)) this.#hidden.add(object)
      else this.#set.add(object)
    }
    const { laid, early } = layOver([...this.#near])
    this.#hide(objects, early)
    const now = new Set(laid)
    for (const object of this.#laid) if (!now.has(object)) this.#set.remove(object)
    for (const object of now) this.#set.add(object)
    this.#laid = now
    return { objects: this.#set.objects, change: this.#set.takeChange() }
  }

  #hide(objects: readonly KubernetesObject[], early: ReadonlySet<string>): void {
    const before = this.#early
    this.#early = early
    if (before.size === early.size && [...early].every((key) => before.has(key))) return
    for (const object of this.#hidden) if (!isOneOf(object, early)) this.#set.add(object)
    const hidden = early.size === 0 ? [] : objects.filter((one) => isOneOf(one, early) && !this.#near.has(one))
    for (const object of hidden) this.#set.remove(object)
    this.#hidden = new Set(hidden)
  }
}

function isOneOf(object: KubernetesObject, keys: ReadonlySet<string>): object is PodObject {
  return keys.size > 0 && object.kind === 'Pod' && keys.has(podKey(object.metadata))
}

/** Of this node, of none yet, or with words on its namespace. */
function isNear(object: KubernetesObject, { node }: OverlayOptions): boolean {
  if (object.kind !== 'Pod') return false
  return (object.spec.nodeName || node) === node || object.metadata.annotations[ANNOTATION.netns] !== undefined
}
