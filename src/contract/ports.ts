/**
 * Ports, marks and annotations: what is fixed between Weir, its users and its peers.
 * Marks and ports are those of Istio ambient, so that existing NetworkPolicies and runbooks fit.
 */

/** Outbound: connections that the pod's own processes open are redirected here (loopback of the pod). */
export const OUTBOUND_PORT = 15001
/** Inbound plain text: connections that arrive at the pod from outside are redirected here. */
export const INBOUND_PORT = 15006
/** Inbound HBONE (HTTP/2 CONNECT over mTLS); dialled directly, never redirected. */
export const HBONE_PORT = 15008
/** DNS capture, UDP and TCP. */
export const DNS_PORT = 15053
/** Ports that belong to the mesh inside a pod: never a destination of proxied traffic. */
export const MESH_PORTS: ReadonlySet<number> = new Set([OUTBOUND_PORT, INBOUND_PORT, HBONE_PORT, DNS_PORT])

/** SO_MARK of every upstream socket of ours: the redirect rules let it pass. */
export const PACKET_MARK = 0x539
/**
 * SO_MARK of upstream sockets towards the application of a pod, with the client's address as source. The
 * application's side inherits it (agent/iptables/mark-sysctls.ts), so that its answers are routed back to us.
 */
export const CONNECTION_MARK = 0x111
/** Both marks are compared and set under this mask; the other bits belong to others. */
export const MARK_MASK = 0xfff
/** Routing table that delivers the application's answers to transparent connections locally. */
export const ROUTE_TABLE = 100
/** Preference of the `ip rule` that selects ROUTE_TABLE. */
export const RULE_PREFERENCE = 32764

export const ADMIN_DEFAULT = '127.0.0.1:15000'
export const STATE_DIR_DEFAULT = '/run/weir'
export const TRUST_DOMAIN_DEFAULT = 'cluster.local'

/** Annotations on a Pod; `mesh` also as a label on its Namespace (the pod's own word wins). */
export const ANNOTATION = {
  mesh: 'weir.dev/mesh',
  netns: 'weir.dev/netns',
  excludeOutboundPorts: 'weir.dev/exclude-outbound-ports',
  excludeInboundPorts: 'weir.dev/exclude-inbound-ports',
  excludeOutboundCidrs: 'weir.dev/exclude-outbound-cidrs',
  /** `disabled`: the pod's DNS queries go where it sends them. */
  dns: 'weir.dev/dns',
  clientAddress: 'weir.dev/client-address',
  /** `true`: cut off from all but the addresses that `quarantineAllow` lists. */
  quarantine: 'weir.dev/quarantine',
  quarantineAllow: 'weir.dev/quarantine-allow',
  /** `REGISTRY_ONLY` or `ALLOW_ANY`; also on a Namespace. A pod can only be stricter than its namespace. */
  outboundTrafficPolicy: 'weir.dev/outbound-traffic-policy',
} as const
