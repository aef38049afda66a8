/** What policy says at each endpoint that a request could reach. */
import type { ConnectionFacts, Endpoint, HttpFacts, ServerName, Workload } from '#contract'
import type { Snapshot } from '#mesh'
import { authorize, explainPolicy, plainDenial, policySetFor, quarantineDenial } from '#policy'

export interface EndpointExplanation {
  readonly address: string
  readonly port: number
  /** `namespace/name`; empty when it is no pod. */
  readonly workload: string
  readonly usable: boolean
  readonly verdict: 'allow' | 'deny'
  /** `namespace/name` of the policy that decides, after `PeerAuthentication` if it is one; empty when none does. */
  readonly policy: string
  readonly reason: string
  /** The reasoning, for people; the first line is the verdict. */
  readonly steps: readonly string[]
}

/** Who calls. */
export interface Caller {
  readonly workload: Workload
  readonly trustDomain: string
}

/** `http` is undefined for a connection that is not HTTP. */
export function explainEndpoint(
  snapshot: Snapshot,
  caller: Caller,
  endpoint: Pick<Endpoint, 'address' | 'port' | 'workload'>,
  usable: boolean,
  http: HttpFacts | undefined,
  sni?: ServerName,
): EndpointExplanation {
  // As the proxies find it: what a ServiceEntry or a slice only gives the address of may be a pod all the same.
  const workload =
    (endpoint.workload === undefined ? undefined : snapshot.workload(endpoint.workload)) ??
    snapshot.workloadByAddress(endpoint.address)
  const pod = endpoint.workload ?? (workload === undefined ? '' : `${workload.namespace}/${workload.name}`)
  const place = { address: endpoint.address, port: endpoint.port, workload: pod, usable }
  const cut =
    quarantineDenial(caller.workload, endpoint.address) ??
    quarantineDenial(workload ?? snapshot.workloadByAddress(endpoint.address), addressOf(caller, endpoint))
  if (cut !== undefined) {
    const { policy = '', reason } = cut
    return { ...place, verdict: 'deny', policy, reason, steps: [`Denied: ${reason}`] }
  }
  if (workload === undefined)
    return unjudged(place, 'the endpoint is no pod that the mesh knows: no policy is enforced')
  if (!workload.optedIn) return unjudged(place, 'the pod has not opted in: no policy is enforced there')
  const connection = connectionFacts(caller, endpoint)
  const facts = sni === undefined ? connection : { ...connection, sni }
  const plain = facts.source === undefined ? plainDenial(workload, endpoint.port) : undefined
  if (plain !== undefined) {
    const { policy = '', reason } = plain
    return { ...place, verdict: 'deny', policy, reason, steps: [`Denied: ${reason}`] }
  }
  const set = policySetFor(snapshot, workload, servicesOf(snapshot, workload))
  const decision = authorize(set, facts, http)
  return {
    ...place,
    verdict: decision.kind,
    policy: decision.policy ?? '',
    reason: decision.reason,
    steps: explainPolicy(set, facts, http),
  }
}

function unjudged(place: Omit<EndpointExplanation, 'verdict' | 'policy' | 'reason' | 'steps'>, reason: string) {
  return { ...place, verdict: 'allow', policy: '', reason, steps: [`Allowed: ${reason}`] } as const
}

/** A caller that has not opted in has no identity: its traffic arrives as plain text. */
function connectionFacts(caller: Caller, endpoint: Pick<Endpoint, 'address' | 'port'>): ConnectionFacts {
  const { workload, trustDomain } = caller
  const { namespace, serviceAccount, optedIn } = workload
  const sourceIp = addressOf(caller, endpoint)
  const place = { sourceIp, destinationIp: endpoint.address, destinationPort: endpoint.port }
  if (!optedIn) return place
  const principal = `${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
  return { ...place, source: { namespace, serviceAccount, principal } }
}

/** Of the endpoint's family where it has one. */
function addressOf({ workload: { addresses } }: Caller, { address: peer }: Pick<Endpoint, 'address'>): string {
  const family = peer.includes(':')
  return addresses.find((address) => address.includes(':') === family) ?? addresses[0] ?? '0.0.0.0'
}

/** Names of the Services in the workload's namespace that have it as an endpoint. */
export function servicesOf(snapshot: Snapshot, workload: Workload): string[] {
  const key = `${workload.namespace}/${workload.name}`
  const names: string[] = []
  for (const service of snapshot.services()) {
    if (service.namespace !== workload.namespace) continue
    const endpoints = Object.values(service.endpoints).flat()
    if (endpoints.some((endpoint) => endpoint.workload === key)) names.push(service.name)
  }
  return names
}
