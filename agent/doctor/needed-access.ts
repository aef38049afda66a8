/** What the agent may do in a cluster, as the roles of daemonset.yaml have it; and in words what it cannot. */
import { type CheckLine, failureLine, okLine } from '#contract'
import { listed } from './listed.ts'

export interface Access {
  readonly group: string
  /** `pods`, or `pods/status`. */
  readonly resource: string
  readonly verb: string
  /** Of the role; undefined for the whole cluster. */
  readonly namespace?: string
  readonly name?: string
}

const FOLLOW = ['get', 'list', 'watch']
const POLICY_GROUPS = ['security.istio.io', 'weir.dev']
const POLICIES = ['authorizationpolicies', 'peerauthentications', 'requestauthentications']

/** @param namespace where Weir is installed */
export function neededAccess(namespace: string): readonly Access[] {
  const everywhere = [
    ...cross('', ['namespaces', 'nodes', 'pods', 'serviceaccounts', 'services'], FOLLOW),
    ...cross('', ['configmaps'], ['get']),
    ...cross('discovery.k8s.io', ['endpointslices'], FOLLOW),
    ...cross(
      'gateway.networking.k8s.io',
      ['backendtlspolicies', 'grpcroutes', 'httproutes', 'referencegrants', 'tcproutes', 'tlsroutes'],
      FOLLOW,
    ),
    ...POLICY_GROUPS.flatMap((group) => cross(group, POLICIES, FOLLOW)),
    ...cross('networking.istio.io', ['serviceentries'], FOLLOW),
    ...cross('weir.dev', ['trafficpolicies'], FOLLOW),
    ...cross(
      'gateway.networking.k8s.io',
      ['backendtlspolicies/status', 'grpcroutes/status', 'httproutes/status', 'tcproutes/status', 'tlsroutes/status'],
      ['patch'],
    ),
    ...POLICY_GROUPS.flatMap((group) =>
      cross(
        group,
        POLICIES.map((resource) => `${resource}/status`),
        ['patch'],
      ),
    ),
    ...cross('weir.dev', ['trafficpolicies/status'], ['patch']),
    ...cross('', ['events'], ['create', 'patch']),
    ...cross('networking.k8s.io', ['networkpolicies'], ['list']),
  ]
  const leases = [
    ...cross('coordination.k8s.io', ['leases'], ['get', 'update']).map((access) => ({
      ...access,
      name: 'weir-status',
    })),
    ...cross('coordination.k8s.io', ['leases'], ['create']),
  ]
  const daemonSet = cross('apps', ['daemonsets'], ['get']).map((access) => ({ ...access, name: 'weir-agent' }))
  return [...everywhere, ...[...leases, ...daemonSet].map((access) => ({ ...access, namespace }))]
}

function cross(group: string, resources: readonly string[], verbs: readonly string[]): readonly Access[] {
  return resources.flatMap((resource) => verbs.map((verb) => ({ group, resource, verb })))
}

/** Of whoever applies daemonset.yaml: what is rarest of it. */
export function installAccess(namespace: string): readonly Access[] {
  return [
    ...cross('', ['namespaces'], ['create']),
    ...cross('apiextensions.k8s.io', ['customresourcedefinitions'], ['create']),
    ...cross('rbac.authorization.k8s.io', ['clusterroles', 'clusterrolebindings'], ['create']),
    ...cross('apps', ['daemonsets', 'deployments'], ['create']).map((access) => ({ ...access, namespace })),
  ]
}

/** E.g. `list networkpolicies.networking.k8s.io`. */
export function accessText({ verb, resource, group, namespace }: Access): string {
  const where = namespace === undefined ? '' : ` in ${namespace}`
  return `${verb} ${resource}${group === '' ? '' : `.${group}`}${where}`
}

export function accessLine(missing: readonly Access[], asked: number): CheckLine {
  if (missing.length === 0) return okLine(`permissions in the cluster: all ${asked} that are needed`)
  return failureLine(
    `permissions in the cluster: ${missing.length} of ${asked} are missing: ${listed(missing.map(accessText))}`,
    'kubectl apply -f daemonset.yaml again, or grant them to its service account',
  )
}
