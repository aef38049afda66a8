/**
 * PeerAuthentications → per pod, whether plain traffic may reach it, as Istio has it
 * (istio.io/latest/docs/reference/config/security/peer_authentication): the pod's own policy before its namespace's
 * before the mesh's, the oldest where there are several, UNSET for "as the wider one says", PERMISSIVE by default.
 */
import type { PeerMode, PeerModes } from '#contract'
import { isInvalid, type KubernetesObject, type PeerAuthenticationObject, type PodObject } from '#resources'
import { podName } from './pods.ts'
import type { PolicyOptions } from './policies.ts'
import { ProblemLog } from './problem-log.ts'

interface Rule {
  /** `namespace/name`. */
  readonly policy: string
  readonly selector: Readonly<Record<string, string>>
  readonly mode: PeerMode | undefined
  readonly ports: Readonly<Record<string, PeerMode>>
}

export class PeerModeIndex {
  readonly #mesh: readonly Rule[]
  readonly #byNamespace: ReadonlyMap<string, readonly Rule[]>

  constructor(policies: readonly PeerAuthenticationObject[], { rootNamespace }: PolicyOptions, problems: ProblemLog) {
    const mesh: Rule[] = []
    const byNamespace = new Map<string, Rule[]>()
    for (const policy of policies.toSorted(byAge)) {
      const rule = compileRule(policy)
      const selects = Object.keys(rule.selector).length > 0
      const { namespace } = policy.metadata
      if (namespace !== rootNamespace) byNamespace.set(namespace, [...(byNamespace.get(namespace) ?? []), rule])
      else if (!selects) mesh.push(rule)
      else problems.add(policy, 'spec.selector', 'is ignored in the root namespace; put the policy beside its pods')
    }
    this.#mesh = mesh
    this.#byNamespace = byNamespace
  }

  /** Undefined for the default: both plain traffic and mutual TLS are taken, on all ports. */
  modesOf(namespace: string, labels: Readonly<Record<string, string>>): PeerModes | undefined {
    const { own, decisive } = this.rulesOf(namespace, labels)
    const ports = own?.ports ?? {}
    if (decisive === undefined && Object.keys(ports).length === 0) return undefined
    const policy = decisive?.policy ?? own?.policy ?? ''
    return { mode: decisive?.mode ?? 'PERMISSIVE', ports, policy }
  }

  /** `own` names the pod's labels, `decisive` says its mode. */
  rulesOf(namespace: string, labels: Readonly<Record<string, string>>): { own?: Rule; decisive?: Rule } {
    const here = this.#byNamespace.get(namespace) ?? []
    const own = here.find(
      ({ selector }) =>
        Object.keys(selector).length > 0 && Object.entries(selector).every(([name, value]) => labels[name] === value),
    )
    const wide = here.find(({ selector }) => Object.keys(selector).length === 0)
    const chain = [own, wide, this.#mesh[0]].filter((rule) => rule !== undefined)
    const decisive = chain.find(({ mode }) => mode !== undefined)
    return { ...(own === undefined ? {} : { own }), ...(decisive === undefined ? {} : { decisive }) }
  }
}

/** A PeerAuthentication for people. */
export interface PeerAuthenticationSummary {
  readonly namespace: string
  readonly name: string
  readonly scope: 'mesh' | 'namespace' | 'workload'
  readonly selector: Readonly<Record<string, string>>
  /** UNSET: as the wider one says. */
  readonly mode: PeerMode | 'UNSET'
  readonly ports: Readonly<Record<string, PeerMode>>
  /** `namespace/name` of the pods for which it decides, by name: where a narrower one does, it does not. */
  readonly pods: readonly string[]
}

/** Those that validate, by namespace and name; the others are policies that deny. */
export function listPeerAuthentications(
  objects: readonly KubernetesObject[],
  options: PolicyOptions,
): PeerAuthenticationSummary[] {
  const policies: PeerAuthenticationObject[] = []
  const pods: PodObject[] = []
  for (const object of objects) {
    if (isInvalid(object)) continue
    if (object.kind === 'PeerAuthentication') policies.push(object)
    else if (object.kind === 'Pod') pods.push(object)
  }
  if (policies.length === 0) return []
  const index = new PeerModeIndex(policies, options, new ProblemLog())
  const decidedBy = new Map<string, string[]>()
  for (const pod of pods) {
    const { own, decisive } = index.rulesOf(pod.metadata.namespace, pod.metadata.labels)
    const byPorts = own !== undefined && Object.keys(own.ports).length > 0 ? own.policy : undefined
    for (const policy of new Set([decisive?.policy, byPorts])) {
      if (policy !== undefined) decidedBy.set(policy, [...(decidedBy.get(policy) ?? []), podName(pod)])
    }
  }
  const summaries = policies.map((object): PeerAuthenticationSummary => {
    const { policy, selector, mode = 'UNSET', ports } = compileRule(object)
    const { namespace, name } = object.metadata
    const chosen = Object.keys(selector).length > 0 ? 'workload' : 'namespace'
    const scope = namespace === options.rootNamespace ? 'mesh' : chosen
    return { namespace, name, scope, selector, mode, ports, pods: (decidedBy.get(policy) ?? []).sort() }
  })
  return summaries.sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1))
}

function byAge(a: PeerAuthenticationObject, b: PeerAuthenticationObject): number {
  const [ageA, ageB] = [a.metadata.creationTimestamp ?? '9', b.metadata.creationTimestamp ?? '9']
  if (ageA !== ageB) return ageA < ageB ? -1 : 1
  return `${a.metadata.namespace}/${a.metadata.name}` < `${b.metadata.namespace}/${b.metadata.name}` ? -1 : 1
}

function compileRule(policy: PeerAuthenticationObject): Rule {
  const { mtls, portLevelMtls = {}, selector } = policy.spec
  const labels = selector?.matchLabels ?? {}
  const ports: Record<string, PeerMode> = {}
  for (const [port, { mode }] of Object.entries(portLevelMtls)) {
    const set = modeOf(mode)
    if (set !== undefined) ports[port] = set
  }
  const { namespace, name } = policy.metadata
  return { policy: `${namespace}/${name}`, selector: labels, mode: modeOf(mtls?.mode), ports }
}

function modeOf(mode: string | undefined): PeerMode | undefined {
  return mode === 'STRICT' || mode === 'PERMISSIVE' || mode === 'DISABLE' ? mode : undefined
}
