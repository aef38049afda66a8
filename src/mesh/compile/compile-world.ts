/** Kubernetes objects → the world of the mesh: one pure pass, and everything that is wrong with them. */
import { type MeshObject, meshKey, type Workload } from '#contract'
import {
  type EndpointSliceObject,
  isInvalid,
  type KubernetesObject,
  type NodeObject,
  type PodObject,
  type Problem,
  type ValidObject,
} from '#resources'
import { checkBackendTlsConflicts } from './backend-tls.ts'
import { compileSingle, groupApart, type SingleContext } from './compile-single.ts'
import { OutboundWords } from './outbound-words.ts'
import { PeerModeIndex } from './peer-authentication.ts'
import { PodSelection } from './pod-selection.ts'
import { compileNamespace, compilePod, indexPods, isOptedIn, meshWords, type PodClaims } from './pods.ts'
import { ProblemLog } from './problem-log.ts'
import { AutomaticAddresses, compileServiceEntries } from './service-entries.ts'
import { compileServices, groupSlices } from './services.ts'
import { checkTrafficConflicts } from './traffic-conflicts.ts'

export interface CompileOptions {
  readonly trustDomain: string
  /** Policies of this namespace that select nothing apply to the whole mesh; default `weir-system`. */
  readonly rootNamespace?: string
}

/** Keys as made by `meshKey`. */
export type WorldObjects = ReadonlyMap<string, MeshObject>

export interface CompiledWorld {
  readonly objects: WorldObjects
  readonly problems: readonly Problem[]
}

export const ROOT_NAMESPACE_DEFAULT = 'weir-system'

/** What pods and Services are compiled by: kept by `WorldCompiler`, which changes it as pods and slices do. */
export interface CompileContext {
  readonly world: Map<string, MeshObject>
  readonly problems: readonly Problem[]
  readonly pods: PodSelection
  readonly claims: PodClaims
  readonly words: ReadonlyMap<string, boolean>
  readonly peerModes: PeerModeIndex
  readonly outbound: OutboundWords
  readonly nodes: ReadonlyMap<string, NodeObject>
  /** By `namespace/name` of the Service, each sorted by name. */
  readonly slices: Map<string, readonly EndpointSliceObject[]>
  /** Names of Services by the address they hold. */
  readonly holders: Map<string, string>
  readonly automatic: AutomaticAddresses
  readonly single: SingleContext
}

/** Gives equal worlds for equal objects, in whatever order they come. */
export function compileWorld(objects: readonly KubernetesObject[], options: CompileOptions): CompiledWorld {
  const { world, problems } = compileContext(objects, options)
  return { objects: world, problems }
}

/** With the word that holds for what the pod calls, where there is one. */
export function withOutbound(workload: Workload, pod: PodObject, outbound: OutboundWords): Workload {
  const mode = outbound.of(pod)
  return mode === undefined ? workload : { ...workload, outbound: mode }
}

export function compileContext(objects: readonly KubernetesObject[], options: CompileOptions): CompileContext {
  const problems = new ProblemLog()
  const policyOptions = {
    trustDomain: options.trustDomain,
    rootNamespace: options.rootNamespace ?? ROOT_NAMESPACE_DEFAULT,
  }
  const world = new Map<string, MeshObject>()
  const put = (object: MeshObject | undefined, group = ''): void => {
    if (object === undefined) return
    // The same kind and name in two API groups are two objects: a policy may not push another one out.
    const taken = group !== '' && world.has(meshKey(object))
    const named = taken ? { ...object, name: `${object.name}.${group}` } : object
    world.set(meshKey(named), named)
  }
  const valid = objects.filter((object): object is ValidObject => !isInvalid(object))

  const namespaces = valid.filter((object) => object.kind === 'Namespace')
  for (const namespace of namespaces) put(compileNamespace(namespace))

  const pods = valid.filter((object) => object.kind === 'Pod')
  const claims = indexPods(pods, problems)
  const words = meshWords(namespaces, problems)
  const outbound = new OutboundWords(namespaces, problems)
  const peerAuthentications = valid.filter((object) => object.kind === 'PeerAuthentication')
  const peerModes = new PeerModeIndex(peerAuthentications, policyOptions, problems)
  const nodes = new Map(
    valid.filter((object) => object.kind === 'Node').map((node) => [node.metadata.name, node] as const),
  )
  for (const pod of pods) {
    const modes = peerModes.modesOf(pod.metadata.namespace, pod.metadata.labels)
    const node = nodes.get(pod.spec.nodeName ?? '')
    put(withOutbound(compilePod(pod, claims, isOptedIn(pod, words, problems), modes, node, problems), pod, outbound))
  }

  const slices = groupSlices(valid.filter((object) => object.kind === 'EndpointSlice'))
  const services = valid.filter((object) => object.kind === 'Service')
  const selection = new PodSelection(pods)
  const holders = new Map<string, string>()
  for (const service of compileServices(services, { pods: selection, index: claims, slices, holders, problems })) {
    put(service)
  }
  const entries = valid.filter((object) => object.kind === 'ServiceEntry')
  const automatic = new AutomaticAddresses()
  for (const service of compileServiceEntries(entries, holders, automatic, problems)) put(service)

  const backendTls = valid.filter((object) => object.kind === 'BackendTLSPolicy')
  checkBackendTlsConflicts(backendTls, problems)
  const configMaps = new Map(
    valid
      .filter((object) => object.kind === 'ConfigMap')
      .map((map) => [`${map.metadata.namespace}/${map.metadata.name}`, map] as const),
  )
  const single = { policyOptions, configMaps }
  for (const object of [...objects].sort((a, b) => (a.group < b.group ? 1 : a.group > b.group ? -1 : 0))) {
    put(compileSingle(object, single, problems), groupApart(object))
  }
  checkTrafficConflicts(objects, problems)
  return {
    world,
    problems: problems.list(),
    pods: selection,
    claims,
    words,
    peerModes,
    outbound,
    nodes,
    slices,
    holders,
    automatic,
    single,
  }
}
