/** Weir as it is measured: a Service with a route and a policy of its pods, an agent with one proxy. */
import type { Lab } from '../support/lab.ts'
import type { LabAgent } from '../support/lab-agent.ts'
import type { Peer } from './peers.ts'

/** What the peers are configured to do as well: a route by header, one caller allowed. */
export const routeAndPolicy = (method: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: bench }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
    - matches: [{ headers: [{ name: x-canary, value: v2 }] }]
      backendRefs: [{ name: web, port: 80 }]
    - backendRefs: [{ name: web, port: 80 }]
---
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: web, namespace: bench }
spec:
  selector: { matchLabels: { app: web } }
  action: ALLOW
  rules:
    - from: [{ source: { principals: [cluster.local/ns/bench/sa/client] } }]
      to: [{ operation: { methods: [${method}], paths: ["/*"] } }]
`

export interface WeirPeer {
  readonly name: string
  /** Of the Service's port, which says what is spoken there. */
  readonly portName: string
  readonly backendPort: number
  readonly method: string
  readonly flags: readonly string[]
}

export async function startWeir(lab: Lab, { name, portName, backendPort, method, flags }: WeirPeer): Promise<Peer> {
  const ports = [{ name: portName, port: 80, targetPort: backendPort }]
  const { ipv4 } = lab.addService({ name: 'web', namespace: 'bench', selector: { app: 'web' }, ports })
  lab.apply(routeAndPolicy(method), 'route-and-policy.yaml')
  const agent = await lab.startAgent({ proxies: 1, extraArgs: flags })
  await agent.waitFor('world applied')
  return { name, url: `http://${ipv4}/`, pids: await pidsOf(agent) }
}

/** The agent's, and its proxies'. */
export async function pidsOf(agent: LabAgent): Promise<number[]> {
  const { stdout } = await agent.cli('status', ['--json'])
  const { proxies } = JSON.parse(stdout) as { proxies: { pid: number }[] }
  return [agent.pid, ...proxies.map(({ pid }) => pid)]
}
