/** The agent's view of the mesh: the current world and its version, the pods to enrol, and what is wrong with the objects. */
import type { MeshObject } from '#contract'
import { type Snapshot, World } from '#mesh'
import {
  checkReferences,
  compileWorld,
  diffWorld,
  type Enrolment,
  enrolments,
  listPeerAuthentications,
  type PeerAuthenticationSummary,
  ROOT_NAMESPACE_DEFAULT,
  type WorldDelta,
  type WorldObjects,
} from '#mesh/compile'
import { type KubernetesObject, type Problem, renderProblem } from '#resources'
import type { AgentConfig } from './config.ts'
import type { AgentLog } from './log.ts'
import type { WorldFeed } from './supervise/proxy-pool.ts'

export class MeshState implements WorldFeed {
  readonly #config: Pick<AgentConfig, 'node' | 'trustDomain'>
  readonly #log: AgentLog
  readonly #world = new World()
  #source: readonly KubernetesObject[] = []
  #objects: WorldObjects = new Map()
  #version = 0
  #problems: readonly Problem[] = []
  #wishes: readonly Enrolment[] = []
  onDelta: (delta: WorldDelta) => void = () => undefined
  onWishes: (wishes: readonly Enrolment[]) => void = () => undefined

  constructor(config: Pick<AgentConfig, 'node' | 'trustDomain'>, log: AgentLog) {
    this.#config = config
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

  peerAuthentications(): readonly PeerAuthenticationSummary[] {
    const { trustDomain } = this.#config
    return listPeerAuthentications(this.#source, { trustDomain, rootNamespace: ROOT_NAMESPACE_DEFAULT })
  }

  /** The source has told nothing yet: there is no world, only what is in its way. */
  waiting(sourceProblems: readonly Problem[]): void {
    this.#tellProblems(sourceProblems)
  }

  update(objects: readonly KubernetesObject[], sourceProblems: readonly Problem[]): void {
    const compiled = compileWorld(objects, { trustDomain: this.#config.trustDomain })
    const local = enrolments(objects, this.#config.node)
    const references = checkReferences(objects, this.#config.node)
    this.#tellProblems([...sourceProblems, ...compiled.problems, ...local.problems, ...references])
    this.#source = objects
    const delta = diffWorld(this.#objects, compiled.objects)
    this.#objects = compiled.objects
    if (delta.upsert.length > 0 || delta.remove.length > 0) {
      this.#version += 1
      this.#world.apply({ version: this.#version, reset: false, ...delta })
      this.#log.info(
        { version: this.#version, changed: delta.upsert.length, removed: delta.remove.length },
        'world changed',
      )
      this.onDelta(delta)
    }
    this.#wishes = local.enrolments
    this.onWishes(local.enrolments)
  }

  #tellProblems(problems: readonly Problem[]): void {
    const known = new Set(this.#problems.map(renderProblem))
    for (const line of new Set(problems.map(renderProblem)))
      if (!known.has(line)) this.#log.warn({ problem: line }, 'problem')
    const now = new Set(problems.map(renderProblem))
    for (const line of known) if (!now.has(line)) this.#log.info({ problem: line }, 'problem solved')
    this.#problems = problems
  }
}
