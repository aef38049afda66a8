/**
 * PeerAuthentications → per pod, whether plain traffic may reach it, as Istio has it
 * (istio.io/latest/docs/reference/config/security/peer_authentication): the pod's own policy before its namespace's
 * before the mesh's, the oldest where there are several, UNSET for "as the wider one says", PERMISSIVE by default.
 */
import type { PeerMode, PeerModes } from '#contract'
import type { PeerAuthenticationObject } from '#resources'
import type { PolicyOptions } from './policies.ts'
import type { ProblemLog } from './problem-log.ts'

interface Rule {
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
    const here = this.#byNamespace.get(namespace) ?? []
    const own = here.find(
      ({ selector }) =>
        Object.keys(selector).length > 0 && Object.entries(selector).every(([name, value]) => labels[name] === value),
    )
    const wide = here.find(({ selector }) => Object.keys(selector).length === 0)
    const chain = [own, wide, this.#mesh[0]].filter((rule) => rule !== undefined)
    const decisive = chain.find(({ mode }) => mode !== undefined)
    const ports = own?.ports ?? {}
    if (decisive === undefined && Object.keys(ports).length === 0) return undefined
    const policy = decisive?.policy ?? own?.policy ?? ''
    return { mode: decisive?.mode ?? 'PERMISSIVE', ports, policy }
  }
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
