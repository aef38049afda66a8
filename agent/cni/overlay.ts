/**
 * What the runtime told of pods, laid over the objects of the source: the namespace always, addresses where the status
 * has none yet. An address in a status stands; what was told of one pod never reaches another of the same name.
 */
import { ANNOTATION } from '#contract'
import { canonicalAddress, type KubernetesObject, type PodObject } from '#resources'

export interface PodAttachment {
  readonly namespace: string
  readonly name: string
  readonly uid?: string
  readonly netns: string
  /** Canonical. */
  readonly addresses: readonly string[]
  /** Its sandbox is gone and no other has come: it has no network, and its addresses are free. */
  readonly ended: boolean
}

export interface OverlayOptions {
  readonly node: string
  /**
   * `annotation`: the objects are the operator's, their weir.dev/netns holds unless the runtime told another.
   * `runtime`: whoever may write a pod may write its annotations, and could name another pod's namespace; only what the
   * runtime told counts.
   */
  readonly netnsFrom: 'annotation' | 'runtime'
}

export function podKey({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`
}

/** Of a pod that the kubelet read from a file: the API knows it under another uid than kubelet and runtime do. */
const CONFIG_HASH = 'kubernetes.io/config.hash'

/** As the kubelet makes it (MD5). Whoever may write a pod may write the annotation: it is nobody's uid by that. */
export function isConfigHash(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text)
}

/** What the runtime calls the pod; undefined where the object does not say. */
export function runtimeUid({ metadata: { annotations, uid } }: PodObject): string | undefined {
  const hash = annotations[CONFIG_HASH]
  if (hash !== undefined && isConfigHash(hash)) return hash
  return uid === '' ? undefined : uid
}

/** False when both name a uid and they differ. */
export function isPodOf(attachment: PodAttachment, uid: string | undefined): boolean {
  return attachment.uid === undefined || uid === undefined || uid === '' || attachment.uid === uid
}

interface LastLaid {
  readonly current: readonly KubernetesObject[]
  readonly laid: readonly KubernetesObject[]
  readonly attachments: ReadonlyMap<string, PodAttachment>
}
const lastLaid = new WeakMap<OverlayOptions, LastLaid>()

function isSame(one: ReadonlyMap<string, PodAttachment>, other: ReadonlyMap<string, PodAttachment>): boolean {
  return one.size === other.size && [...one].every(([key, attachment]) => other.get(key) === attachment)
}

/**
 * @param attachments by `podKey`
 * @param early pods that the source does not show yet
 */
export function layOver(
  objects: readonly KubernetesObject[],
  attachments: ReadonlyMap<string, PodAttachment>,
  early: readonly PodObject[],
  options: OverlayOptions,
): readonly KubernetesObject[] {
  if (attachments.size === 0 && early.length === 0 && options.netnsFrom === 'annotation') return objects
  const newer = new Map(early.map((pod) => [podKey(pod.metadata), pod]))
  const { node } = options
  // An older pod of that name, or the runtime would not start another.
  const current =
    newer.size === 0
      ? objects
      : objects.filter((object) => object.kind !== 'Pod' || !newer.has(podKey(object.metadata)))
  const layOne = (object: KubernetesObject): KubernetesObject =>
    object.kind === 'Pod' &&
    (object.spec.nodeName === node || object.metadata.annotations[ANNOTATION.netns] !== undefined)
      ? layOverPod(object, attachments.get(podKey(object.metadata)), options)
      : object
  const last = lastLaid.get(options)
  const before = last !== undefined && isSame(last.attachments, attachments) ? last : undefined
  // Objects that stand where they stood are not even looked at: they are many.
  const laid: KubernetesObject[] = []
  for (let i = 0; i < current.length; i++) {
    const object = current[i]
    if (object === undefined) continue
    const same = before !== undefined && before.current[i] === object ? before.laid[i] : undefined
    laid.push(same ?? layOne(object))
  }
  lastLaid.set(options, { current, laid, attachments: new Map(attachments) })
  if (early.length === 0) return laid
  return [...laid, ...early.map((pod) => layOverPod(pod, attachments.get(podKey(pod.metadata)), options))]
}

/** What came of a pod last time: the same pod is the same value again. */
interface Laid extends OverlayOptions {
  readonly attachment: PodAttachment | undefined
  readonly laid: PodObject
}
const laidBefore = new WeakMap<PodObject, Laid>()

function layOverPod(pod: PodObject, attachment: PodAttachment | undefined, options: OverlayOptions): PodObject {
  const before = laidBefore.get(pod)
  const { node, netnsFrom } = options
  const same = before?.attachment === attachment && before?.node === node && before.netnsFrom === netnsFrom
  if (same) return before.laid
  const laid = layOverAnew(pod, attachment, options)
  // Most are as they were, and take no room.
  if (laid !== pod) laidBefore.set(pod, { attachment, laid, node, netnsFrom })
  return laid
}

function layOverAnew(pod: PodObject, attachment: PodAttachment | undefined, options: OverlayOptions): PodObject {
  const { [ANNOTATION.netns]: annotated, ...others } = pod.metadata.annotations
  const told = pod.spec.nodeName === options.node && !pod.spec.hostNetwork ? attachment : undefined
  const applies = told !== undefined && isPodOf(told, pod.metadata.uid)
  if (applies && told.ended) return withNetns({ ...pod, status: withoutNetwork(pod.status) }, others, undefined)
  const netns = applies ? told.netns : options.netnsFrom === 'annotation' ? annotated : undefined
  const status = applies && !hasAddress(pod) ? withAddresses(pod.status, told.addresses) : pod.status
  if (netns === annotated && status === pod.status) return pod
  return withNetns({ ...pod, status }, others, netns)
}

function withNetns(pod: PodObject, others: Readonly<Record<string, string>>, netns: string | undefined): PodObject {
  const annotations = netns === undefined ? others : { ...others, [ANNOTATION.netns]: netns }
  return { ...pod, metadata: { ...pod.metadata, annotations } }
}

function hasAddress({ status: { podIP, podIPs } }: PodObject): boolean {
  return [podIP ?? '', ...podIPs.map(({ ip }) => ip)].some((text) => canonicalAddress(text) !== undefined)
}

function withAddresses(status: PodObject['status'], addresses: readonly string[]): PodObject['status'] {
  return addresses.length === 0 ? status : { ...status, podIPs: addresses.map((ip) => ({ ip })) }
}

function withoutNetwork(status: PodObject['status']): PodObject['status'] {
  return { ...status, podIP: '', podIPs: [], phase: 'Failed' }
}
