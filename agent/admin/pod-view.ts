/** One pod, whole: its state, identity, what applies to it, and the rules that the kernel has for it. */

import { errorLine } from '#base'
import type { NamedObject, PodIdentity, PodView, Workload } from '#contract'
import { ROUTE_KIND } from '#contract'
import type { Snapshot } from '#mesh'
import { policySetFor } from '#policy'
import type { AdminBackend, AgentStatus } from './backend.ts'
import { servicesOf } from './explain-policy.ts'

/** Undefined: there is no such pod. */
export async function viewPod(backend: AdminBackend, namespace: string, name: string): Promise<PodView | undefined> {
  const { snapshot } = backend
  const key = `${namespace}/${name}`
  const workload = snapshot.workload(key)
  const [status, pods] = await Promise.all([backend.status(), backend.pods()])
  const known = pods.find((pod) => pod.namespace === namespace && pod.name === name)
  if (workload === undefined || known === undefined) return undefined
  const services = servicesOf(snapshot, workload)
  const quarantine = status.quarantined.find(({ pod }) => pod === key)
  const kernel = await rulesOf(backend, workload.uid)
  return {
    namespace,
    name,
    uid: known.uid,
    node: known.node,
    here: known.node === backend.node,
    addresses: known.addresses,
    labels: workload.labels,
    optedIn: known.optedIn,
    ready: workload.ready,
    state: known.state,
    detail: known.detail,
    verifiedAt: known.verifiedAt,
    repairs: known.repairs,
    proxies: known.proxies,
    connections: known.connections,
    requestsInFlight: known.requestsInFlight,
    ...(quarantine === undefined ? {} : { quarantine: { allow: quarantine.allow, inForce: quarantine.inForce } }),
    identity: identityOf(status, workload),
    services: services.map((service) => `${namespace}/${service}`).toSorted(),
    routes: routesOf(snapshot, namespace, services),
    policies: policiesOf(backend, workload, services),
    ...kernel,
  }
}

function identityOf({ trustDomain, identities }: AgentStatus, { namespace, serviceAccount }: Workload): PodIdentity {
  const spiffeId = `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
  const found = identities.find((identity) => identity.spiffeId === spiffeId)
  if (found === undefined) return { spiffeId, state: 'none', serial: '', notAfterMs: 0, lastError: '' }
  const { state, serial, notAfterMs, lastError } = found
  return { spiffeId, state, serial, notAfterMs, lastError }
}

function routesOf(snapshot: Snapshot, namespace: string, services: readonly string[]): NamedObject[] {
  const found = services.flatMap((service) => {
    const parent = `${namespace}/${service}`
    return [
      ...snapshot.routesOf(parent).map((route) => ({ kind: ROUTE_KIND[route.kind], route, parent })),
      ...snapshot.streamRoutesOf(parent).map((route) => {
        return { kind: route.kind === 'tls-route' ? 'TLSRoute' : 'TCPRoute', route, parent }
      }),
    ]
  })
  return found
    .map(({ kind, route, parent }) => {
      const says = route.invalid === undefined ? `routes ${parent}` : `invalid: ${route.invalid}`
      return { kind, name: `${route.namespace}/${route.name}`, says }
    })
    .toSorted(byName)
}

/** By the same selection as the proxies', so that what is told applies in fact. */
function policiesOf(backend: AdminBackend, workload: Workload, services: readonly string[]): NamedObject[] {
  const { snapshot } = backend
  const all = [...snapshot.meshPolicies(), ...snapshot.authorizationPolicies(workload.namespace)]
  const applying = new Set(policySetFor(snapshot, workload, services).policies)
  const authorization = new Map(
    all.flatMap(({ namespace, name, action, rules, invalid }): [string, NamedObject][] => {
      const key = `${namespace}/${name}`
      const count = `${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}`
      const says = invalid === undefined ? `${action}, ${count}` : `invalid, denies all: ${invalid}`
      return applying.has(key) ? [[key, { kind: 'AuthorizationPolicy', name: key, says }]] : []
    }),
  )
  const pod = `${workload.namespace}/${workload.name}`
  const peers = backend
    .peerAuthentications()
    .filter(({ pods }) => pods.includes(pod))
    .map(({ namespace, name, mode, ports }): NamedObject => {
      const own = Object.entries(ports).map(([port, portMode]) => `${port}: ${portMode}`)
      return { kind: 'PeerAuthentication', name: `${namespace}/${name}`, says: [mode, ...own].join(', ') }
    })
  const traffic = services.flatMap((service): NamedObject[] => {
    const policy = snapshot.trafficPolicy(`${workload.namespace}/${service}`)
    if (policy === undefined) return []
    const says = policy.invalid === undefined ? `for ${service}` : `invalid: ${policy.invalid}`
    return [{ kind: 'TrafficPolicy', name: `${policy.namespace}/${policy.name}`, says }]
  })
  return [...[...authorization.values()].toSorted(byName), ...peers.toSorted(byName), ...traffic.toSorted(byName)]
}

async function rulesOf(backend: AdminBackend, uid: string): Promise<Pick<PodView, 'rules' | 'rulesProblem'>> {
  try {
    const rules = await backend.kernelRules(uid)
    return { rules: rules ?? [], rulesProblem: rules === undefined ? 'the pod is not enrolled on this node' : '' }
  } catch (thrown) {
    return { rules: [], rulesProblem: errorLine(thrown) }
  }
}

function byName(a: NamedObject, b: NamedObject): number {
  return `${a.kind} ${a.name}` < `${b.kind} ${b.name}` ? -1 : 1
}
