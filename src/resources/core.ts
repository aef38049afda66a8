/**
 * The kinds of core/v1 and discovery.k8s.io/v1 as far as the mesh reads them. All lenient: everything that
 * `kubectl get -o yaml` prints is accepted, fields the mesh does not read are not looked at.
 */

import {
  boolean,
  integer,
  list,
  map,
  type Output,
  object,
  oneOf,
  optional,
  port,
  string,
  stringOrInteger,
  withDefault,
} from '#schema'
import { canonicalAddress } from './address.ts'

const ipText = string((text) =>
  text === '' || canonicalAddress(text) !== undefined
    ? undefined
    : `expected an IP address, got ${JSON.stringify(text)}`,
)
const clusterIpText = string((text) =>
  text === '' || text === 'None' || canonicalAddress(text) !== undefined
    ? undefined
    : `expected an IP address or None, got ${JSON.stringify(text)}`,
)
const protocol = withDefault(oneOf('TCP', 'UDP', 'SCTP'), 'TCP')

export const namespaceBody = object('lenient', {})
export const nodeBody = object('lenient', {
  spec: withDefault(object('lenient', { podCIDR: optional(string()), podCIDRs: withDefault(list(string()), []) }), {
    podCIDRs: [],
  }),
  status: withDefault(
    object('lenient', {
      addresses: withDefault(list(object('lenient', { type: string(), address: string() })), []),
    }),
    { addresses: [] },
  ),
})
export const serviceAccountBody = object('lenient', {})

const probe = optional(
  object('lenient', {
    httpGet: optional(object('lenient', { path: withDefault(string(), '/'), port: stringOrInteger(1, 65535) })),
    tcpSocket: optional(object('lenient', { port: stringOrInteger(1, 65535) })),
    grpc: optional(object('lenient', { port: port() })),
  }),
)

const container = object('lenient', {
  name: optional(string()),
  /** `Always` on an init container makes it run beside the others. */
  restartPolicy: optional(string()),
  livenessProbe: probe,
  readinessProbe: probe,
  startupProbe: probe,
  ports: withDefault(list(object('lenient', { name: optional(string()), containerPort: port(), protocol })), []),
})

export const podBody = object('lenient', {
  spec: withDefault(
    object('lenient', {
      nodeName: optional(string()),
      hostNetwork: withDefault(boolean(), false),
      serviceAccountName: optional(string()),
      hostname: optional(string()),
      subdomain: optional(string()),
      containers: withDefault(list(container), []),
      initContainers: withDefault(list(container), []),
    }),
    { hostNetwork: false, containers: [], initContainers: [] },
  ),
  status: withDefault(
    object('lenient', {
      phase: optional(string()),
      hostIP: optional(ipText),
      hostIPs: withDefault(list(object('lenient', { ip: ipText })), []),
      podIP: optional(ipText),
      podIPs: withDefault(list(object('lenient', { ip: ipText })), []),
      conditions: optional(list(object('lenient', { type: string(), status: string() }))),
    }),
    { hostIPs: [], podIPs: [] },
  ),
})

const servicePort = object('lenient', {
  name: withDefault(string(), ''),
  port: port(),
  targetPort: optional(stringOrInteger(0, 65535)),
  protocol,
  appProtocol: optional(string()),
})

export const serviceBody = object('lenient', {
  spec: object('lenient', {
    type: withDefault(oneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'), 'ClusterIP'),
    clusterIP: optional(clusterIpText),
    clusterIPs: withDefault(list(clusterIpText), []),
    externalName: optional(string()),
    ipFamilies: withDefault(list(oneOf('IPv4', 'IPv6')), []),
    ports: withDefault(list(servicePort), []),
    selector: withDefault(map(string()), {}),
    publishNotReadyAddresses: withDefault(boolean(), false),
    sessionAffinity: optional(string()),
  }),
})

export const endpointSliceBody = object('lenient', {
  addressType: oneOf('IPv4', 'IPv6', 'FQDN'),
  endpoints: withDefault(
    list(
      object('lenient', {
        addresses: list(string(), { min: 1 }),
        hostname: optional(string()),
        conditions: withDefault(
          object('lenient', {
            ready: optional(boolean()),
            serving: optional(boolean()),
            terminating: optional(boolean()),
          }),
          {},
        ),
        targetRef: optional(
          object('lenient', { kind: optional(string()), namespace: optional(string()), name: optional(string()) }),
        ),
      }),
    ),
    [],
  ),
  ports: withDefault(
    list(
      object('lenient', {
        name: withDefault(string(), ''),
        port: optional(integer(1, 65535)),
        protocol,
        appProtocol: optional(string()),
      }),
    ),
    [],
  ),
})

export type PodBody = Output<typeof podBody>
export type NodeBody = Output<typeof nodeBody>
export type ServiceBody = Output<typeof serviceBody>
export type EndpointSliceBody = Output<typeof endpointSliceBody>
