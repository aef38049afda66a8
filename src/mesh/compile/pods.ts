/**
 * Pods → workloads: who opted in, which address belongs to whom, what people call it. Of two pods that claim one
 * address the living one, then the first by namespace and name, has it: one pod's traffic may never be another's.
 */
import { ANNOTATION, type NamespaceInfo, type PeerModes, type Quarantine, type Workload } from '#contract'
import { canonicalAddress, type NamespaceObject, type NodeObject, type PodObject } from '#resources'
import { hostAddressesOf, probesOf } from './probes.ts'
import { ProblemLog } from './problem-log.ts'
import { readQuarantine } from './quarantine.ts'

/** Its containers have ended for good: it has no network any more. */
export function isFinished(pod: PodObject): boolean {
  return pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed'
}

export function isTerminating(pod: PodObject): boolean {
  return pod.metadata.deletionTimestamp !== undefined || isFinished(pod)
}

/** By the Ready condition; a Pod without any status.conditions is written by hand and counts as ready. */
export function isReady(pod: PodObject): boolean {
  const { conditions } = pod.status
  if (isFinished(pod)) return false
  return conditions === undefined || conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
}

export function podName(pod: PodObject): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}`
}

const knownAddresses = new WeakMap<PodObject, readonly string[]>()

/** Canonical, in the order of the status, each once. */
export function statusAddresses(pod: PodObject): readonly string[] {
  let known = knownAddresses.get(pod)
  if (known === undefined) {
    const { podIP, podIPs } = pod.status
    const texts = [...podIPs.map(({ ip }) => ip), ...(podIP === undefined ? [] : [podIP])]
    known = [...new Set(texts.flatMap((text) => canonicalAddress(text) ?? []))]
    knownAddresses.set(pod, known)
  }
  return known
}

export interface PodIndex {
  /** The pod that an address belongs to; host-network pods share their node's and have none. */
  readonly byAddress: ReadonlyMap<string, PodObject>
  readonly addresses: ReadonlyMap<PodObject, readonly string[]>
  /** `namespace/name` of pods in quarantine: nobody is sent to them. */
  readonly quarantined: ReadonlySet<string>
  /** Unique even where manifests repeat or leave out metadata.uid. */
  readonly uids: ReadonlyMap<PodObject, string>
}

/** A PodIndex that changes with single pods, as long as no two of them claim the same. */
export interface PodClaims extends PodIndex {
  readonly byAddress: Map<string, PodObject>
  readonly addresses: Map<PodObject, readonly string[]>
  readonly uids: Map<PodObject, string>
  readonly byUid: Map<string, PodObject>
}

/** Undoes what `claimAlone` did. */
export function release(pod: PodObject, claims: PodClaims): void {
  for (const address of claims.addresses.get(pod) ?? []) {
    if (claims.byAddress.get(address) === pod) claims.byAddress.delete(address)
  }
  const uid = claims.uids.get(pod)
  if (uid !== undefined) claims.byUid.delete(uid)
  claims.addresses.delete(pod)
  claims.uids.delete(pod)
}

/** As indexPods with one more pod; false when another one has an address or a uid of it. */
export function claimAlone(pod: PodObject, claims: PodClaims): boolean {
  const addresses = isFinished(pod) ? [] : statusAddresses(pod)
  const held = pod.spec.hostNetwork ? [] : addresses
  const own = ownUid(pod)
  const uid = pod.metadata.uid === undefined || pod.metadata.uid === '' ? own : pod.metadata.uid
  if (claims.byUid.has(uid) || held.some((address) => claims.byAddress.has(address))) return false
  for (const address of held) claims.byAddress.set(address, pod)
  claims.addresses.set(pod, addresses)
  claims.uids.set(pod, uid)
  claims.byUid.set(uid, pod)
  return true
}

/** A namespace has no dot in its name: the first one parts the two. */
function ownUid({ metadata: { namespace, name } }: PodObject): string {
  return `${namespace}.${name}`
}

export function indexPods(pods: readonly PodObject[], problems: ProblemLog): PodClaims {
  const byAddress = new Map<string, PodObject>()
  const addresses = new Map<PodObject, readonly string[]>()
  const uids = new Map<PodObject, string>()
  const byUid = new Map<string, PodObject>()
  const inOrder = pods
    .map((pod) => ({ pod, leaving: Number(isTerminating(pod)), name: podName(pod) }))
    .sort((a, b) => a.leaving - b.leaving || compareText(a.name, b.name))
  for (const { pod } of inOrder) {
    addresses.set(pod, claim(pod, byAddress, problems))
    const { uid } = pod.metadata
    const own = ownUid(pod)
    const other = uid === undefined || uid === '' ? undefined : byUid.get(uid)
    if (other !== undefined) {
      problems.add(pod, 'metadata.uid', `${uid} is already the uid of Pod ${podName(other)}: remove one of them`)
    }
    const chosen = uid === undefined || uid === '' || other !== undefined ? own : uid
    byUid.set(chosen, pod)
    uids.set(pod, chosen)
  }
  const silent = new ProblemLog()
  const quarantined = new Set(pods.filter((pod) => readQuarantine(pod, silent) !== undefined).map(podName))
  return { byAddress, addresses, uids, byUid, quarantined }
}

function claim(pod: PodObject, byAddress: Map<string, PodObject>, problems: ProblemLog): readonly string[] {
  // The address of a finished pod is free again, whatever its status still says.
  if (isFinished(pod)) return []
  const all = statusAddresses(pod)
  if (pod.spec.hostNetwork) return all
  return all.filter((address) => {
    const holder = byAddress.get(address)
    if (holder === undefined) {
      byAddress.set(address, pod)
      return true
    }
    const message = `${address} is already the address of Pod ${podName(holder)}, which keeps it: give each pod its own`
    problems.add(pod, 'status.podIPs', message)
    return false
  })
}

/** The namespaces' word on opting in. */
export function meshWords(namespaces: readonly NamespaceObject[], problems: ProblemLog): ReadonlyMap<string, boolean> {
  const words = new Map<string, boolean>()
  for (const namespace of namespaces) {
    const { labels, annotations, name } = namespace.metadata
    const label = labels[ANNOTATION.mesh]
    const text = label ?? annotations[ANNOTATION.mesh]
    if (text === undefined) continue
    if (text === 'enabled' || text === 'disabled') {
      words.set(name, text === 'enabled')
      continue
    }
    const field = `metadata.${label === undefined ? 'annotations' : 'labels'}[${ANNOTATION.mesh}]`
    problems.add(
      namespace,
      field,
      `expected enabled or disabled, got ${JSON.stringify(text)}; the namespace is not opted in`,
    )
  }
  return words
}

export function isOptedIn(pod: PodObject, words: ReadonlyMap<string, boolean>, problems: ProblemLog): boolean {
  const own = pod.metadata.annotations[ANNOTATION.mesh]
  const field = `metadata.annotations[${ANNOTATION.mesh}]`
  const ofNamespace = words.get(pod.metadata.namespace) ?? false
  const valid = own === 'enabled' || own === 'disabled'
  if (own !== undefined && !valid) {
    const effect = `the word of its namespace holds (${ofNamespace ? 'enabled' : 'disabled'})`
    problems.add(pod, field, `expected enabled or disabled, got ${JSON.stringify(own)}; ${effect}`)
  }
  if (!pod.spec.hostNetwork) return valid ? own === 'enabled' : ofNamespace
  if (own === 'enabled') {
    problems.add(pod, field, 'a pod on the host network is never enrolled: remove the annotation or hostNetwork')
  }
  return false
}

export function compileNamespace(namespace: NamespaceObject): NamespaceInfo {
  return { kind: 'namespace', namespace: '', name: namespace.metadata.name, labels: namespace.metadata.labels }
}

interface Compiled {
  readonly optedIn: boolean
  readonly uid: string
  readonly addresses: readonly string[]
  readonly peerModes: PeerModes | undefined
  readonly node: NodeObject | undefined
  readonly hidden: boolean
  readonly workload: Workload
}

/** What became of a pod last time: in a large cluster nearly all are as they were. */
const compiledBefore = new WeakMap<PodObject, Compiled>()

/** The same value as last time for the same pod in the same circumstances. */
export function compilePod(
  pod: PodObject,
  index: PodIndex,
  optedIn: boolean,
  peerModes: PeerModes | undefined,
  node: NodeObject | undefined,
  problems: ProblemLog,
): Workload {
  const uid = index.uids.get(pod) ?? podName(pod)
  const addresses = index.addresses.get(pod) ?? []
  const hidden = hidesClientAddress(pod, problems)
  const quarantine = quarantineOf(pod, optedIn, problems)
  const before = compiledBefore.get(pod)
  if (
    before !== undefined &&
    before.optedIn === optedIn &&
    before.uid === uid &&
    before.node === node &&
    before.hidden === hidden &&
    before.addresses.length === addresses.length &&
    before.addresses.every((address, at) => address === addresses[at]) &&
    (before.peerModes === peerModes || JSON.stringify(before.peerModes) === JSON.stringify(peerModes))
  ) {
    return before.workload
  }
  const workload = compileAnew(pod, { optedIn, uid, addresses, peerModes, node, hidden }, quarantine)
  compiledBefore.set(pod, { optedIn, uid, addresses, peerModes, node, hidden, workload })
  return workload
}

function compileAnew(
  pod: PodObject,
  { optedIn, uid, addresses, peerModes, node, hidden }: Omit<Compiled, 'workload'>,
  quarantine: Quarantine | undefined,
): Workload {
  const { labels } = pod.metadata
  return {
    kind: 'workload',
    namespace: pod.metadata.namespace,
    name: pod.metadata.name,
    uid,
    serviceAccount: serviceAccountOf(pod),
    labels,
    addresses,
    node: pod.spec.nodeName ?? '',
    ...placeOf(node),
    hostNetwork: pod.spec.hostNetwork,
    optedIn,
    ready: isReady(pod),
    terminating: isTerminating(pod),
    owner: ownerOf(pod),
    app: labels['app'] ?? labels['app.kubernetes.io/name'] ?? 'unknown',
    version: labels['version'] ?? labels['app.kubernetes.io/version'] ?? 'unknown',
    ...(peerModes === undefined ? {} : { peerModes }),
    ...(hidden ? { hidesClientAddress: true } : {}),
    hostAddresses: hostAddressesOf(pod, node),
    probes: probesOf(pod),
    ...(quarantine === undefined ? {} : { quarantine }),
  }
}

/** A pod outside the mesh is only left alone by those inside. */
function quarantineOf(pod: PodObject, optedIn: boolean, problems: ProblemLog): Quarantine | undefined {
  const quarantine = readQuarantine(pod, problems)
  if (quarantine !== undefined && !optedIn && !isFinished(pod)) {
    const remedy = pod.spec.hostNetwork
      ? 'it is on the host network, where Weir cannot cut it off: stop it, or drain its node'
      : `it is not in the mesh, so only mesh pods are kept from it: opt it in (${ANNOTATION.mesh}: enabled)`
    problems.add(pod, `metadata.annotations[${ANNOTATION.quarantine}]`, `is not in force: ${remedy}`)
  }
  return quarantine
}

/** By the labels that Kubernetes fixed for nodes. */
function placeOf(node: NodeObject | undefined): Pick<Workload, 'zone' | 'region'> {
  const zone = node?.metadata.labels['topology.kubernetes.io/zone']
  const region = node?.metadata.labels['topology.kubernetes.io/region']
  return { ...(zone === undefined ? {} : { zone }), ...(region === undefined ? {} : { region }) }
}

function hidesClientAddress(pod: PodObject, problems: ProblemLog): boolean {
  const word = pod.metadata.annotations[ANNOTATION.clientAddress]
  if (word === undefined || word === 'kept' || word === 'hidden') return word === 'hidden'
  const field = `metadata.annotations[${ANNOTATION.clientAddress}]`
  problems.add(pod, field, `expected kept or hidden, got ${JSON.stringify(word)}; the client's address is kept`)
  return false
}

export function serviceAccountOf(pod: PodObject): string {
  return pod.spec.serviceAccountName || 'default'
}

/** The Deployment behind a ReplicaSet and the CronJob behind a Job, by the names that their controllers give. */
function ownerOf(pod: PodObject): string {
  const owners = pod.metadata.ownerReferences
  const owner = owners.find(({ controller }) => controller === true) ?? owners[0]
  if (owner === undefined) return pod.metadata.name
  const hash = pod.metadata.labels['pod-template-hash']
  if (owner.kind === 'ReplicaSet' && hash && owner.name.endsWith(`-${hash}`))
    return owner.name.slice(0, -hash.length - 1)
  if (owner.kind === 'Job') return owner.name.replace(/(?<=.)-\d{8,10}$/, '')
  return owner.name
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
