/**
 * The objects of a pod that is being started: as the source shows them, or fetched, or waited for, since a runtime may
 * start a pod before its watch event arrives here. What cannot be known is said to be missing, never taken for a no.
 */
import { errorLine, startTimer } from '#base'
import { ANNOTATION } from '#contract'
import type { KubernetesObject, NamespaceObject, PodObject } from '#resources'
import { runtimeUid } from './overlay.ts'
import type { PodRef } from './plugin-side.ts'

export interface FoundPod {
  readonly pod: PodObject
  /** Absent where there is no object of it. */
  readonly namespace: NamespaceObject | undefined
  /** The source shows this pod already. */
  readonly shown: boolean
}

export interface PodFinderOptions {
  /** Asks the source of truth; without it the object is waited for. Undefined: there is none. May fail. */
  readonly getPod?: (namespace: string, name: string) => Promise<PodObject | undefined>
  /** The same; without it a namespace that the source does not show has no word on opting in. */
  readonly getNamespace?: (name: string) => Promise<NamespaceObject | undefined>
  /** Longest search, ms. The plugin gives up after 8 s. */
  readonly timeoutMs?: number
}

export type PodSearch =
  | { readonly kind: 'found'; readonly found: FoundPod }
  | { readonly kind: 'missing'; readonly why: string }

const TIMEOUT_MS = 5_000

export class PodFinder {
  readonly #options: PodFinderOptions
  #objects: readonly KubernetesObject[] = []
  /** Made of the objects when somebody asks: they change far more often than pods start. */
  #names: Names | undefined
  #whole = false
  readonly #waiting = new Set<() => unknown>()

  constructor(options: PodFinderOptions = {}) {
    this.#options = options
  }

  /**
   * To be told of all objects of the source whenever they change, before anything is laid over them.
   * @param whole false while the source has not told all of them
   */
  update(objects: readonly KubernetesObject[], whole: boolean): void {
    this.#objects = objects
    this.#names = undefined
    this.#whole = whole
    for (const look of [...this.#waiting]) look()
  }

  get #known(): Names {
    this.#names ??= namesOf(this.#objects)
    return this.#names
  }

  /** Never fails. */
  async find(ref: PodRef): Promise<PodSearch> {
    const timeoutMs = this.#options.timeoutMs ?? TIMEOUT_MS
    const late = Promise.withResolvers<undefined>()
    using _ = startTimer(timeoutMs, () => late.resolve(undefined))
    const pod = await this.#pod(ref, late.promise)
    if (pod === undefined) return { kind: 'missing', why: this.#explain(ref, timeoutMs) }
    const namespace = await this.#namespace(ref.namespace, pod, late.promise)
    if (typeof namespace !== 'string') {
      const shown = this.#known.pods.get(`${ref.namespace}/${ref.name}`)
      return {
        kind: 'found',
        found: { pod, namespace: namespace?.object, shown: shown !== undefined && isOf(shown, ref) },
      }
    }
    return { kind: 'missing', why: `Namespace ${ref.namespace} cannot be read: ${namespace}` }
  }

  async #pod(ref: PodRef, late: Promise<undefined>): Promise<PodObject | undefined> {
    const { promise, resolve } = Promise.withResolvers<PodObject>()
    const look = () => {
      const pod = this.#known.pods.get(`${ref.namespace}/${ref.name}`)
      const fits = pod !== undefined && this.#whole && isOf(pod, ref)
      if (fits) resolve(pod)
      return fits
    }
    this.#waiting.add(look)
    try {
      const fetched = look() ? undefined : this.#options.getPod?.(ref.namespace, ref.name)
      // A failing source is waited out: the watch may still bring the pod.
      fetched?.then(
        (pod) => pod !== undefined && isOf(pod, ref) && resolve(pod),
        () => undefined,
      )
      return await Promise.race([promise, late])
    } finally {
      this.#waiting.delete(look)
    }
  }

  /** A text says why it cannot be known. */
  async #namespace(
    name: string,
    pod: PodObject,
    late: Promise<undefined>,
  ): Promise<{ readonly object: NamespaceObject | undefined } | string> {
    const object = this.#known.namespaces.get(name)
    const word = pod.metadata.annotations[ANNOTATION.mesh]
    // The pod's own word wins.
    if (object !== undefined || word === 'enabled' || word === 'disabled') return { object }
    const { getNamespace } = this.#options
    if (getNamespace === undefined) return this.#whole ? { object } : 'the source of objects has not been read yet'
    try {
      const fetched = getNamespace(name).then((got) => ({ object: got }))
      return (await Promise.race([fetched, late])) ?? 'no answer in time'
    } catch (thrown) {
      return errorLine(thrown)
    }
  }

  #explain(ref: PodRef, timeoutMs: number): string {
    if (!this.#whole) return 'the agent has not read its source of objects yet'
    const name = `${ref.namespace}/${ref.name}`
    const other = this.#known.pods.get(name)
    const uid = other === undefined ? undefined : runtimeUid(other)
    return uid === undefined
      ? `the object of Pod ${name} was not seen within ${timeoutMs / 1000} s`
      : `Pod ${name} has uid ${uid}, the runtime starts ${ref.uid}`
  }
}

interface Names {
  readonly pods: ReadonlyMap<string, PodObject>
  readonly namespaces: ReadonlyMap<string, NamespaceObject>
}

function namesOf(objects: readonly KubernetesObject[]): Names {
  const pods = new Map<string, PodObject>()
  const namespaces = new Map<string, NamespaceObject>()
  for (const object of objects) {
    const { namespace, name } = object.metadata
    if (object.kind === 'Pod') pods.set(`${namespace}/${name}`, object)
    else if (object.kind === 'Namespace') namespaces.set(name, object)
  }
  return { pods, namespaces }
}

function isOf(pod: PodObject, { uid }: PodRef): boolean {
  const own = runtimeUid(pod)
  return own === undefined || uid === undefined || own === uid
}
