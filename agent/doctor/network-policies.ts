/** NetworkPolicies of the cluster, asked for when someone looks, against the enrolled pods of the world. */
import { type CheckLine, type MeshObject, okLine, warningLine } from '#contract'
import { type KubernetesApi, KubernetesError } from '#kubernetes'
import { listObjects } from './api-list.ts'
import { blockedTunnels } from './blocked-tunnels.ts'
import type { Labels } from './label-selector.ts'
import type { NetworkPolicy, PolicyPod } from './network-policy.ts'
import { policyLines } from './policy-lines.ts'

const PATH = '/apis/networking.k8s.io/v1/networkpolicies'

export async function networkPolicyLines(
  api: Pick<KubernetesApi, 'request'>,
  world: readonly MeshObject[],
  signal: AbortSignal,
): Promise<readonly CheckLine[]> {
  let listed: readonly unknown[]
  try {
    listed = await listObjects(api, PATH, { signal })
  } catch (thrown) {
    if (!(thrown instanceof KubernetesError)) throw thrown
    if (thrown.status === 404) return [okLine('NetworkPolicies: this cluster has none')]
    if (thrown.status !== 403) throw thrown
    const remedy =
      'grant list networkpolicies.networking.k8s.io to the service account (kubectl apply -f daemonset.yaml)'
    return [warningLine('NetworkPolicies cannot be listed: whether one blocks tunnels is not known', remedy)]
  }
  const policies = listed.filter(isNetworkPolicy)
  const cut: CheckLine[] = []
  const blocked = blockedTunnels(policies, enrolledPods(world), namespaceLabels(world), (compared, kinds) => {
    const what = `NetworkPolicies: ${compared} of ${kinds} kinds of enrolled pods were compared`
    cut.push(warningLine(what, 'look at the others by hand: fewer labels that differ make fewer kinds'))
  })
  return [...policyLines(blocked, policies.length), ...cut]
}

function enrolledPods(world: readonly MeshObject[]): readonly PolicyPod[] {
  return world.flatMap((object) => {
    if (object.kind !== 'workload' || !object.optedIn || object.hostNetwork || object.terminating) return []
    const { namespace, name, labels, addresses, node } = object
    // Tunnels are the mesh's own port: no container declares it, so no named port means it.
    return [{ namespace, name, labels, addresses, node, namedPorts: {} }]
  })
}

function namespaceLabels(world: readonly MeshObject[]): ReadonlyMap<string, Labels> {
  return new Map(
    world.flatMap((object) => (object.kind === 'namespace' ? [[object.name, object.labels] as const] : [])),
  )
}

/** The API server has validated the rest. */
function isNetworkPolicy(value: unknown): value is NetworkPolicy {
  if (typeof value !== 'object' || value === null || !('metadata' in value) || !('spec' in value)) return false
  const { metadata, spec } = value
  return (
    typeof metadata === 'object' &&
    metadata !== null &&
    'namespace' in metadata &&
    typeof metadata.namespace === 'string' &&
    'name' in metadata &&
    typeof metadata.name === 'string' &&
    typeof spec === 'object' &&
    spec !== null
  )
}
