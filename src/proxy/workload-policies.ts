/** The policies of a workload, compiled again only when one of them, the workload or a Service that they name changes. */
import type { AuthorizationPolicy, MeshService, Workload } from '#contract'
import type { Snapshot } from '#mesh'
import { type PolicySet, policySetFor } from '#policy'

interface WorkloadPolicies {
  readonly set: PolicySet
  readonly workload: Workload
  /** As the snapshot gave them: the same lists while none of them changes. */
  readonly own: readonly AuthorizationPolicy[]
  readonly mesh: readonly AuthorizationPolicy[]
  /** Those that policies of the namespace name (targetRefs). */
  readonly named: ReadonlyMap<string, MeshService | undefined>
}

const SLOT = Symbol('policy sets')

export function policiesOf(snapshot: Snapshot, workload: Workload): PolicySet {
  const key = `${workload.namespace}/${workload.name}`
  const known = snapshot.derived<WorkloadPolicies>(SLOT, key, (before) =>
    before !== undefined && stillHolds(snapshot, workload, before) ? before : compile(snapshot, workload),
  )
  return known.set
}

function stillHolds(snapshot: Snapshot, workload: Workload, before: WorkloadPolicies): boolean {
  if (before.workload !== workload || before.mesh !== snapshot.meshPolicies()) return false
  if (before.own !== snapshot.authorizationPolicies(workload.namespace)) return false
  for (const [name, service] of before.named) {
    if (snapshot.service(`${workload.namespace}/${name}`) !== service) return false
  }
  return true
}

function compile(snapshot: Snapshot, workload: Workload): WorkloadPolicies {
  const { namespace } = workload
  const own = snapshot.authorizationPolicies(namespace)
  const named = new Map<string, MeshService | undefined>()
  for (const { services } of own) for (const name of services) named.set(name, snapshot.service(`${namespace}/${name}`))
  const serving = [...named].filter(([, service]) => serves(service, workload)).map(([name]) => name)
  return { set: policySetFor(snapshot, workload, serving), workload, own, mesh: snapshot.meshPolicies(), named }
}

function serves(service: MeshService | undefined, { namespace, name }: Workload): boolean {
  const key = `${namespace}/${name}`
  return Object.values(service?.endpoints ?? {}).some((list) => list.some(({ workload }) => workload === key))
}
