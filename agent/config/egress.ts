/** What pods ask and call beyond the mesh. */
import type { DnsSettings, OutboundTrafficPolicy } from '#contract'
import { nodeNameServers, parseNameServers } from '../dns-upstreams.ts'
import { matching, type Subject } from './flag.ts'

export interface EgressSettings {
  readonly dns: DnsSettings
  readonly outboundTrafficPolicy: OutboundTrafficPolicy
}

export const EGRESS: Subject<EgressSettings> = {
  flags: {
    'dns-upstream': {
      value: 'ADDR[,ADDR]',
      says: "name servers (ADDR or ADDR:PORT) for what pods ask beyond the mesh's own names",
      defaultSays: 'Service kube-system/kube-dns, or resolv.conf',
      wrong: (value) =>
        parseNameServers(value) === undefined
          ? `expected IP addresses such as 10.96.0.10 or [fd96::a]:53, separated by commas, got ${JSON.stringify(value)}`
          : undefined,
    },
    'outbound-traffic-policy': {
      value: 'ALLOW_ANY|REGISTRY_ONLY',
      says: 'whether pods may call what is not declared (Services, pods, ServiceEntries)',
      default: 'ALLOW_ANY',
      wrong: matching(/^(ALLOW_ANY|REGISTRY_ONLY)$/, 'ALLOW_ANY or REGISTRY_ONLY'),
    },
  },
  read(given) {
    const upstreams = given.has('dns-upstream') ? parseNameServers(given.text('dns-upstream')) : undefined
    return {
      dns: { upstreams: upstreams ?? nodeNameServers(), preferCluster: upstreams === undefined },
      outboundTrafficPolicy: given.text('outbound-traffic-policy') === 'REGISTRY_ONLY' ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
    }
  },
}
