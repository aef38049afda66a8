/**
 * The world, followed from one set of objects to the next. Only what a change concerns is compiled again, so that it costs
 * the same in a large cluster. Whatever is out of the ordinary (two pods or Services with one address, two policies for one
 * Service, what does not validate, anything told as a problem, kinds that concern many) is compiled as a whole.
 */
import { type MeshObject, meshKey } from '#contract'
import { describeObject, type KubernetesObject, type Problem } from '#resources'
import { type ChangedObjects, changedObjects } from './changed-objects.ts'
import { compileSingle } from './compile-single.ts'
import { type CompileOptions, compileContext, type WorldObjects, withOutbound } from './compile-world.ts'
import { diffWorld, equal, type WorldDelta } from './diff-world.ts'
import { type Enrolments, enrolments } from './enrolments.ts'
import {
  changeEntries,
  changePods,
  changeServices,
  changeSingles,
  changeSlices,
  entryKeys,
  type Parted,
  partObjects,
  serviceKey,
  singleKey,
  workloadKey,
} from './follow-change.ts'
import { type Followed, follow } from './followed.ts'
import { compilePod, isFinished, isOptedIn, podName } from './pods.ts'
import { ProblemLog } from './problem-log.ts'
import { ReferenceCheck } from './reference-check.ts'
import { checkReferences } from './references.ts'
import { compileServiceEntries } from './service-entries.ts'
import { compileService } from './services.ts'

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
  /** `references()` would tell the same as before. */
  readonly sameReferences: boolean
}

/** With more changes at once, one pass over everything is cheaper. */
const MAX_CHANGES = 256

export class WorldCompiler {
  readonly #options: WorldCompilerOptions
  #before: readonly KubernetesObject[] = []
  #objects: WorldObjects = new Map()
  #problems: readonly Problem[] = []
  #enrolments: Enrolments = { enrolments: [], problems: [] }
  /** Undefined where single changes cannot be followed. */
  #followed: Followed | undefined
  /** Undefined until it is asked for. */
  #check: ReferenceCheck | undefined

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

  /** True: it costs little to ask for `references()`. */
  get followsReferences(): boolean {
    return this.#check !== undefined
  }

  /** What `checkReferences` tells of the objects. */
  references(): readonly Problem[] {
    if (this.#followed === undefined) return checkReferences(this.#before, this.#options.node)
    this.#check ??= new ReferenceCheck(this.#before, this.#followed, this.#options.node)
    return this.#check.problems()
  }

  #whole(objects: readonly KubernetesObject[]): CompiledChange {
    const context = compileContext(objects, this.#options)
    const delta = diffWorld(this.#objects, context.world)
    this.#objects = context.world
    this.#problems = context.problems
    this.#enrolments = enrolments(objects, this.#options.node)
    this.#followed = follow(objects, context, this.#options.node)
    this.#check = undefined
    return { ...this.#now(), delta, sameReferences: false }
  }

  #now(): Pick<CompiledChange, 'objects' | 'problems' | 'enrolments'> {
    return { objects: this.#objects, problems: this.#problems, enrolments: this.#enrolments }
  }

  /** Undefined: it is out of the ordinary, and what it is followed by may be half changed. */
  #follow(followed: Followed, { removed, added }: ChangedObjects): CompiledChange | undefined {
    this.#followed = undefined
    if (removed.length + added.length > MAX_CHANGES) return undefined
    const [old, now] = [partObjects(removed), partObjects(added)]
    if (old === undefined || now === undefined) return undefined

    const touched = new Set<string>()
    let sameReferences = changeSlices(followed, old.slices, now.slices, touched)
    if (!changePods(followed, old.pods, now.pods, touched)) return undefined
    if (!changeServices(followed, old.services, now.services, touched)) return undefined
    if (!changeEntries(followed, old.entries, now.entries)) return undefined
    if (!changeSingles(followed, old.singles, now.singles)) return undefined
    sameReferences &&= meansTheSame(old, now)

    const { world } = followed
    const gone = new Set([
      ...old.pods.map(workloadKey),
      ...old.services.map(serviceKey),
      ...old.entries.flatMap(entryKeys),
      ...old.singles.map(singleKey),
    ])
    const made = this.#compile(followed, now, touched, gone)
    if (made === undefined) return undefined
    const upsert: MeshObject[] = []
    for (const object of made) {
      const key = meshKey(object)
      gone.delete(key)
      if (!equal(world.get(key), object)) upsert.push(object)
    }
    const remove = [...gone].filter((key) => world.has(key))
    // Only now: the next difference begins with the world that was told.
    for (const key of remove) world.delete(key)
    for (const object of upsert) world.set(meshKey(object), object)
    if ([...old.pods, ...now.pods].some(({ spec }) => spec.nodeName === this.#options.node)) {
      const own = followed.nodes.get(this.#options.node)
      const node = own === undefined ? [] : [own]
      this.#enrolments = enrolments([...followed.namespaces, ...node, ...followed.local.values()], this.#options.node)
    }
    this.#check?.follow(old, now, sameReferences ? undefined : touched)
    this.#followed = followed
    return { ...this.#now(), delta: { upsert, remove }, sameReferences }
  }

  /** @param gone keys of what may be there again; undefined when one of them is wrong, or there twice */
  #compile(
    followed: Followed,
    { pods, entries, singles }: Parted,
    touched: ReadonlySet<string>,
    gone: ReadonlySet<string>,
  ): readonly MeshObject[] | undefined {
    const { claims, words, peerModes, outbound, nodes, slices, holders, automatic, world } = followed
    const problems = new ProblemLog()
    const made: MeshObject[] = []
    for (const pod of pods) {
      if (pod.spec.nodeName === this.#options.node) followed.local.set(podName(pod), pod)
      const modes = peerModes.modesOf(pod.metadata.namespace, pod.metadata.labels)
      const node = nodes.get(pod.spec.nodeName ?? '')
      const workload = compilePod(pod, claims, isOptedIn(pod, words, problems), modes, node, problems)
      made.push(withOutbound(workload, pod, outbound))
    }
    for (const name of touched) {
      const service = followed.services.get(name)
      if (service === undefined) continue
      if (followed.troubled.has(describeObject(service))) return undefined
      made.push(compileService(service, { pods: followed.pods, index: claims, slices, holders, problems }))
    }
    const { collisions } = automatic
    made.push(...compileServiceEntries(entries, holders, automatic, problems))
    if (automatic.collisions > collisions) return undefined
    for (const object of singles) {
      const key = singleKey(object)
      if (world.has(key) && !gone.has(key)) return undefined
      const single = compileSingle(object, followed.single, problems)
      if (single !== undefined) made.push(single)
    }
    return problems.list().length > 0 ? undefined : made
  }
}

/** All that `checkReferences` looks at is as it was. */
function meansTheSame(old: Parted, now: Parted): boolean {
  if (old.services.length + now.services.length + old.singles.length + now.singles.length > 0) return false
  const before = new Map(old.pods.map((pod) => [podName(pod), pod]))
  return (
    old.pods.length === now.pods.length &&
    now.pods.every((pod) => {
      const last = before.get(podName(pod))
      return (
        last !== undefined &&
        isFinished(last) === isFinished(pod) &&
        equal(last.metadata.labels, pod.metadata.labels) &&
        equal(last.metadata.annotations, pod.metadata.annotations) &&
        equal(last.spec, pod.spec)
      )
    })
  )
}
