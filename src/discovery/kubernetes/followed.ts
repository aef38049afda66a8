/** What the mesh follows of a cluster: core kinds, which are always there, and those that come with definitions. */
import type { KubernetesObject } from '#resources'

export type Kind = KubernetesObject['kind']

export interface Followed {
  readonly kind: Kind
  readonly group: string
  /** The first one served is used. */
  readonly versions: readonly string[]
  readonly plural: string
  readonly fieldSelector?: string
  /** Defined by a CustomResourceDefinition, which may come and go. */
  readonly optional: boolean
}

const POLICIES = [
  ['AuthorizationPolicy', 'authorizationpolicies'],
  ['PeerAuthentication', 'peerauthentications'],
  ['RequestAuthentication', 'requestauthentications'],
] as const
const GATEWAY = { group: 'gateway.networking.k8s.io', versions: ['v1', 'v1beta1'], optional: true }

const CUSTOM: readonly Followed[] = [
  { kind: 'HTTPRoute', plural: 'httproutes', ...GATEWAY },
  { kind: 'GRPCRoute', plural: 'grpcroutes', ...GATEWAY, versions: ['v1'] },
  { kind: 'TLSRoute', plural: 'tlsroutes', ...GATEWAY, versions: ['v1', 'v1alpha3', 'v1alpha2'] },
  { kind: 'TCPRoute', plural: 'tcproutes', ...GATEWAY, versions: ['v1', 'v1alpha2'] },
  { kind: 'BackendTLSPolicy', plural: 'backendtlspolicies', ...GATEWAY, versions: ['v1', 'v1alpha3'] },
  { kind: 'ReferenceGrant', plural: 'referencegrants', ...GATEWAY },
  ...POLICIES.flatMap(([kind, plural]): Followed[] => [
    { kind, plural, group: 'security.istio.io', versions: ['v1', 'v1beta1'], optional: true },
    { kind, plural, group: 'weir.dev', versions: ['v1alpha1'], optional: true },
  ]),
  {
    kind: 'ServiceEntry',
    plural: 'serviceentries',
    group: 'networking.istio.io',
    versions: ['v1', 'v1beta1', 'v1alpha3'],
    optional: true,
  },
  { kind: 'TrafficPolicy', plural: 'trafficpolicies', group: 'weir.dev', versions: ['v1alpha1'], optional: true },
]

/**
 * In the order in which their objects are told. With a node, its pods are followed apart: they are few, are needed
 * first, and count until they are deleted; others count as long as they run.
 */
export function followedFor(node: string | undefined, only: readonly Kind[] | undefined): readonly Followed[] {
  const running = 'status.phase!=Succeeded,status.phase!=Failed'
  const pods: readonly Followed[] =
    node === undefined
      ? [core('Pod', 'pods')]
      : [
          { ...core('Pod', 'pods'), fieldSelector: `spec.nodeName=${node}` },
          { ...core('Pod', 'pods'), fieldSelector: `spec.nodeName!=${node},${running}` },
        ]
  const all = [
    core('Namespace', 'namespaces'),
    core('Node', 'nodes'),
    core('ServiceAccount', 'serviceaccounts'),
    core('Service', 'services'),
    { ...core('EndpointSlice', 'endpointslices'), group: 'discovery.k8s.io' },
    ...pods,
    ...CUSTOM,
  ]
  return only === undefined ? all : all.filter(({ kind }) => only.includes(kind))
}

export function collectionPath({ group, plural }: Followed, version: string): string {
  return group === '' ? `/api/${version}/${plural}` : `/apis/${group}/${version}/${plural}`
}

/** As RBAC and people name it: `pods`, `httproutes.gateway.networking.k8s.io`. */
export function resourceName({ group, plural }: Followed): string {
  return group === '' ? plural : `${plural}.${group}`
}

function core(kind: Kind, plural: string): Followed {
  return { kind, plural, group: '', versions: ['v1'], optional: false }
}
