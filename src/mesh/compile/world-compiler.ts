/**
 * The world, followed from one set of objects to the next. Where only pods and EndpointSlices changed, which is nearly
 * always, only what depends on them is compiled again, so that a change costs the same in a large cluster. Whatever is out
 * of the ordinary (two pods with one address, anything told as a problem, other kinds) is compiled as a whole.
 */
import type { MeshObject, MeshService } from '#contract'
import { ANNOTATION, meshKey } from '#contract'
import {
  describeObject,
  type EndpointSliceObject,
  isInvalid,
  type KubernetesObject,
  type NamespaceObject,
  objectKey,
  type PodObject,
  type Problem,
  type ServiceObject,
} from '#resources'
import { type ChangedObjects, changedObjects } from './changed-objects.ts'
import {
  type CompileContext,
  type CompileOptions,
  compileContext,
  type WorldObjects,
  withOutbound,
} from './compile-world.ts'
import { diffWorld, equal, type WorldDelta } from './diff-world.ts'
import { type Enrolments, enrolments } from './enrolments.ts'
import { claimAlone, compilePod, isFinished, isOptedIn, podName, release, statusAddresses } from './pods.ts'
import { ProblemLog } from './problem-log.ts'
import { readQuarantine } from './quarantine.ts'
import { ServiceUses } from './service-uses.ts'
import { bySliceName, compileService, serviceOfSlice } from './services.ts'

export interface WorldCompilerOptions extends CompileOptions {
  /** The node whose pods are enrolled. */
  readonly node: string
}

export interface CompiledChange {
  /** Changes with the next update. */
  readonly objects: WorldObjects
  readonly problems: readonly Problem[]
  readonly enrolments: Enrolments
  readonly delta: WorldDelta
  /** `checkReferences` would say the same as before. */
  readonly sameReferences: boolean
}

/**
 * Kinds whose values depend on no pod and no slice. In a world with any other, everything is compiled each time: who adds
 * one that depends on pods need not know of this file to be right.
 */
const INDEPENDENT: ReadonlySet<string> = new Set([
  'Namespace',
  'Node',
  'Service',
  'ServiceAccount',
  'HTTPRoute',
  'GRPCRoute',
  'ReferenceGrant',
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
  'TrafficPolicy',
  'TLSRoute',
  'TCPRoute',
  'BackendTLSPolicy',
  'ConfigMap',
])
/** With more changes at once, one pass over everything is cheaper. */
const MAX_CHANGES = 256

interface Followed extends CompileContext {
  readonly uses: ServiceUses
  readonly services: ReadonlyMap<string, ServiceObject>
  readonly namespaces: readonly NamespaceObject[]
  /** Pods of the node. */
  readonly local: Map<string, PodObject>
  /** As problems name them. */
  readonly troubled: ReadonlySet<string>
}

export class WorldCompiler {
  readonly #options: WorldCompilerOptions
  #before: readonly KubernetesObject[] = []
  #objects: WorldObjects = new Map()
  #problems: readonly Problem[] = []
  #enrolments: Enrolments = { enrolments: [], problems: [] }
  /** Undefined where single changes cannot be followed. */
  #followed: Followed | undefined

  constructor(options: WorldCompilerOptions) {
    this.#options = options
  }

  /**
   * @param change from the objects of the update before, where it is known; without it they are compared, and must not
   * have changed in place since
   */
  update(
    objects: readonly KubernetesObject[],
    change: ChangedObjects = changedObjects(this.#before, objects),
  ): CompiledChange {
    const followed = this.#followed
    this.#before = objects
    const made = followed === undefined ? undefined : this.#follow(followed, change)
    return made ?? this.#whole(objects)
  }

  #whole(objects: readonly KubernetesObject[]): CompiledChange {
    const context = compileContext(objects, this.#options)
    const delta = diffWorld(this.#objects, context.world)
    this.#objects = context.world
    this.#problems = context.problems
    this.#enrolments = enrolments(objects, this.#options.node)
    this.#followed = follow(objects, context, this.#options.node)
    return { ...this.#now(), delta, sameReferences: false }
  }

  #now(): Pick<CompiledChange, 'objects' | 'problems' | 'enrolments'> {
    return { objects: this.#objects, problems: this.#problems, enrolments: this.#enrolments }
  }

  /** Undefined: it is out of the ordinary, and the context may be half changed. */
  #follow(followed: Followed, { removed, added }: ChangedObjects): CompiledChange | undefined {
    this.#followed = undefined
    if (removed.length + added.length > MAX_CHANGES) return undefined
    const [oldPods, newPods] = [podsOf(removed), podsOf(added)]
    const [oldSlices, newSlices] = [slicesOf(removed), slicesOf(added)]
    if (oldPods.length + oldSlices.length !== removed.length) return undefined
    if (newPods.length + newSlices.length !== added.length) return undefined

    const touched = new Set<string>()
    let sameReferences = changeSlices(followed, oldSlices, newSlices, touched)
    if (!changePods(followed, oldPods, newPods, touched)) return undefined
    sameReferences &&= meansTheSame(oldPods, newPods)

    const problems = new ProblemLog()
    const upsert: MeshObject[] = []
    const remove: string[] = []
    const put = (object: MeshObject): void => {
      if (!equal(followed.world.get(meshKey(object)), object)) upsert.push(object)
    }
    const { claims, words, peerModes, outbound, nodes, world } = followed
    const named = new Set(newPods.map(podName))
    for (const pod of oldPods) {
      const { namespace, name } = pod.metadata
      const key = meshKey({ kind: 'workload', namespace, name })
      if (!named.has(podName(pod)) && world.has(key)) remove.push(key)
    }
    for (const pod of newPods) {
      if (pod.spec.nodeName === this.#options.node) followed.local.set(podName(pod), pod)
      const modes = peerModes.modesOf(pod.metadata.namespace, pod.metadata.labels)
      const node = nodes.get(pod.spec.nodeName ?? '')
      put(withOutbound(compilePod(pod, claims, isOptedIn(pod, words, problems), modes, node, problems), pod, outbound))
    }
    for (const name of touched) {
      const service = followed.services.get(name)
      if (service === undefined) continue
      if (followed.troubled.has(describeObject(service))) return undefined
      put(compileAgain(service, followed, problems))
    }
    if (problems.list().length > 0) return undefined
    // Only now: the next difference begins with the world that was told.
    for (const key of remove) world.delete(key)
    for (const object of upsert) world.set(meshKey(object), object)
    if ([...oldPods, ...newPods].some(({ spec }) => spec.nodeName === this.#options.node)) {
      const own = followed.nodes.get(this.#options.node)
      const node = own === undefined ? [] : [own]
      this.#enrolments = enrolments([...followed.namespaces, ...node, ...followed.local.values()], this.#options.node)
    }
    this.#followed = followed
    return { ...this.#now(), delta: { upsert, remove }, sameReferences }
  }
}

function podsOf(objects: readonly KubernetesObject[]): PodObject[] {
  return objects.filter((object): object is PodObject => object.kind === 'Pod' && !isInvalid(object))
}

function slicesOf(objects: readonly KubernetesObject[]): EndpointSliceObject[] {
  return objects.filter(
    (object): object is EndpointSliceObject => object.kind === 'EndpointSlice' && !isInvalid(object),
  )
}

function compileAgain(
  service: ServiceObject,
  { pods, claims, slices, holders }: Followed,
  problems: ProblemLog,
): MeshService {
  return compileService(service, { pods, index: claims, slices, holders, problems })
}

/** Undefined when anything is in the set that single changes cannot be told of. */
function follow(objects: readonly KubernetesObject[], context: CompileContext, node: string): Followed | undefined {
  const keys = new Set<string>()
  const services = new Map<string, ServiceObject>()
  const namespaces: NamespaceObject[] = []
  const local = new Map<string, PodObject>()
  const uses = new ServiceUses()
  for (const object of objects) {
    const key = objectKey(object)
    if (keys.has(key)) return undefined
    keys.add(key)
    if (isInvalid(object)) continue
    if (object.kind === 'Pod') {
      if (!hasItsOwn(object, context)) return undefined
      if (object.spec.nodeName === node) local.set(podName(object), object)
    } else if (object.kind === 'Service') {
      services.set(`${object.metadata.namespace}/${object.metadata.name}`, object)
      uses.addService(object)
    } else if (object.kind === 'EndpointSlice') uses.addSlice(object)
    else if (object.kind === 'Namespace') namespaces.push(object)
    else if (!INDEPENDENT.has(object.kind)) return undefined
  }
  const troubled = new Set(context.problems.map((problem) => problem.object ?? ''))
  return { ...context, uses, services, namespaces, local, troubled }
}

/** False when another pod has an address or the uid that this one claims, and it might fall to this one. */
function hasItsOwn(pod: PodObject, { claims }: CompileContext): boolean {
  const { uid } = pod.metadata
  if (uid !== undefined && uid !== '' && claims.uids.get(pod) !== uid) return false
  return isFinished(pod) || claims.addresses.get(pod)?.length === statusAddresses(pod).length
}

/** False when a Service now has slices and had none, or the other way round. */
function changeSlices(
  { slices, uses }: Followed,
  removed: readonly EndpointSliceObject[],
  added: readonly EndpointSliceObject[],
  touched: Set<string>,
): boolean {
  const groups = new Set<string>()
  const was = new Set<string>()
  const into = (slice: EndpointSliceObject, change: (group: EndpointSliceObject[]) => EndpointSliceObject[]): void => {
    const key = serviceOfSlice(slice)
    if (key === undefined) return
    const group = slices.get(key)
    if (!groups.has(key) && group !== undefined) was.add(key)
    groups.add(key)
    touched.add(key)
    const changed = change([...(group ?? [])])
    if (changed.length === 0) slices.delete(key)
    else slices.set(key, changed)
  }
  for (const slice of removed) {
    uses.removeSlice(slice)
    into(slice, (group) => group.filter((one) => one !== slice))
  }
  for (const slice of added) {
    uses.addSlice(slice)
    into(slice, (group) => [...group, slice].sort(bySliceName))
  }
  return [...groups].every((key) => was.has(key) === slices.has(key))
}

/** False when one of them is told of as a problem, is in quarantine, or claims what another one has. */
function changePods(
  { pods, claims, uses, local, troubled }: Followed,
  removed: readonly PodObject[],
  added: readonly PodObject[],
  touched: Set<string>,
): boolean {
  if (removed.some((pod) => troubled.has(describeObject(pod)))) return false
  // Quarantine concerns Services beyond those that select the pod; words on what it may call may be problems.
  const silent = new ProblemLog()
  const isSpecial = (pod: PodObject): boolean =>
    readQuarantine(pod, silent) !== undefined ||
    pod.metadata.annotations[ANNOTATION.outboundTrafficPolicy] !== undefined
  if ([...removed, ...added].some(isSpecial)) return false
  for (const pod of removed) {
    uses.ofPod(pod, claims.addresses.get(pod) ?? [], touched)
    pods.remove(pod)
    release(pod, claims)
    local.delete(podName(pod))
  }
  for (const pod of added) {
    if (!claimAlone(pod, claims)) return false
    pods.add(pod)
    uses.ofPod(pod, claims.addresses.get(pod) ?? [], touched)
  }
  return true
}

/** The same pods, with all that `checkReferences` looks at as it was. */
function meansTheSame(removed: readonly PodObject[], added: readonly PodObject[]): boolean {
  const before = new Map(removed.map((pod) => [podName(pod), pod]))
  return (
    removed.length === added.length &&
    added.every((pod) => {
      const old = before.get(podName(pod))
      return (
        old !== undefined &&
        isFinished(old) === isFinished(pod) &&
        equal(old.metadata.labels, pod.metadata.labels) &&
        equal(old.metadata.annotations, pod.metadata.annotations) &&
        equal(old.spec, pod.spec)
      )
    })
  )
}
