/** The agent's view of the mesh: the current world and its version, the pods to enrol, and what is wrong with the objects. */
import { type MeshObject, meshKey } from '#contract'
import type { ObjectChange } from '#discovery'
import { type Snapshot, World } from '#mesh'
import {
  type Enrolment,
  listPeerAuthentications,
  type PeerAuthenticationSummary,
  ROOT_NAMESPACE_DEFAULT,
  WorldCompiler,
  type WorldDelta,
  type WorldObjects,
} from '#mesh/compile'
import { type KubernetesObject, type Problem, renderProblem } from '#resources'
import type { AgentConfig } from './config.ts'
import type { AgentLog } from './log.ts'
import type { WorldFeed } from './supervise/proxy-pool.ts'

/** Of so many objects, names that lead nowhere are looked for at each change. */
const FEW_OBJECTS = 5000
/** Of more, one part in so many of the time is given to it. */
const CHECK_SHARE = 50

export class MeshState implements WorldFeed {
  readonly #config: Pick<AgentConfig, 'node' | 'trustDomain'>
  readonly #log: AgentLog
  readonly #world = new World()
  readonly #compiler: WorldCompiler
  #source: readonly KubernetesObject[] = []
  #objects: WorldObjects = new Map()
  /** Workloads of this node. */
  readonly #local = new Map<string, MeshObject>()
  #version = 0
  #problems: readonly Problem[] = []
  /** Those that compiling tells, and those of names that lead nowhere. */
  #found: readonly Problem[] = []
  #references: readonly Problem[] = []
  #checkMs = 0
  #nextCheck: NodeJS.Timeout | undefined
  #wishes: readonly Enrolment[] = []
  onDelta: (delta: WorldDelta) => void = () => undefined
  onWishes: (wishes: readonly Enrolment[]) => void = () => undefined

  constructor(config: Pick<AgentConfig, 'node' | 'trustDomain'>, log: AgentLog) {
    this.#config = config
    this.#compiler = new WorldCompiler({ trustDomain: config.trustDomain, node: config.node })
    this.#log = log
  }

  get version(): number {
    return this.#version
  }

  get snapshot(): Snapshot {
    return this.#world.snapshot
  }

  get problems(): readonly Problem[] {
    return this.#problems
  }

  /** Opted-in pods of this node. */
  get wishes(): readonly Enrolment[] {
    return this.#wishes
  }

  objects(): readonly MeshObject[] {
    return [...this.#objects.values()]
  }

  /** Workloads of this node. */
  localWorkloads(): readonly MeshObject[] {
    return [...this.#local.values()]
  }

  peerAuthentications(): readonly PeerAuthenticationSummary[] {
    const { trustDomain } = this.#config
    return listPeerAuthentications(this.#source, { trustDomain, rootNamespace: ROOT_NAMESPACE_DEFAULT })
  }

  /** The source has told nothing yet: there is no world, only what is in its way. */
  waiting(sourceProblems: readonly Problem[]): void {
    this.#tellProblems(sourceProblems)
  }

  /** @param change as sources tell it: each time, or never */
  update(objects: readonly KubernetesObject[], sourceProblems: readonly Problem[], change?: ObjectChange): void {
    const { objects: world, problems, enrolments, delta, sameReferences } = this.#compiler.update(objects, change)
    this.#source = objects
    this.#objects = world
    this.#found = [...sourceProblems, ...problems, ...enrolments.problems]
    if (!sameReferences) this.#referencesChanged()
    this.#tellProblems([...this.#found, ...this.#references])
    if (delta.upsert.length > 0 || delta.remove.length > 0) {
      this.#version += 1
      this.#world.apply({ version: this.#version, reset: false, ...delta })
      this.#followLocal(delta)
      this.#log.info(
        { version: this.#version, changed: delta.upsert.length, removed: delta.remove.length },
        'world changed',
      )
      this.onDelta(delta)
    }
    this.#wishes = enrolments.enrolments
    this.onWishes(enrolments.enrolments)
  }

  #followLocal({ upsert, remove }: WorldDelta): void {
    for (const key of remove) this.#local.delete(key)
    for (const object of upsert) {
      if (object.kind === 'workload' && object.node === this.#config.node) this.#local.set(meshKey(object), object)
      else this.#local.delete(meshKey(object))
    }
  }

  /** At once while that is quick. All of them in a large cluster take long, holds nothing up, and is done from time to time. */
  #referencesChanged(): void {
    if (this.#nextCheck !== undefined) return
    const isQuick = this.#compiler.followsReferences || this.#source.length < FEW_OBJECTS || this.#checkMs === 0
    if (isQuick) this.#checkReferences()
    else {
      this.#nextCheck = setTimeout(() => {
        this.#nextCheck = undefined
        this.#checkReferences()
        this.#tellProblems([...this.#found, ...this.#references])
      }, this.#checkMs * CHECK_SHARE).unref()
    }
  }

  #checkReferences(): void {
    const begun = performance.now()
    const isFollowed = this.#compiler.followsReferences
    this.#references = this.#compiler.references()
    if (!isFollowed) this.#checkMs = performance.now() - begun
  }

  #tellProblems(problems: readonly Problem[]): void {
    const before = this.#problems
    if (before.length === problems.length && problems.every((problem, i) => problem === before[i])) return
    const known = new Set(this.#problems.map(renderProblem))
    for (const line of new Set(problems.map(renderProblem)))
      if (!known.has(line)) this.#log.warn({ problem: line }, 'problem')
    const now = new Set(problems.map(renderProblem))
    for (const line of known) if (!now.has(line)) this.#log.info({ problem: line }, 'problem solved')
    this.#problems = problems
  }
}
