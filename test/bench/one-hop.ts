/**
 * Case `one-hop`: HTTP/1.1 through one proxy on one node. Weir: wrk in an enrolled pod, redirected by iptables,
 * to a Service of an enrolled pod, with HTTPRoute, AuthorizationPolicy, metrics and access log. Peers: see peers.ts.
 */
import { join } from 'node:path'
import { type Lab, openLab } from '../support/lab.ts'
import { compare } from './compare.ts'
import { BACKEND_PORT, type Peer, startBackend, startHaproxy, startHttpProxy, startNginx } from './peers.ts'
import type { BenchOptions, BenchRow } from './rows.ts'

export const ROUTE_AND_POLICY = `
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
      to: [{ operation: { methods: [GET], paths: ["/*"] } }]
`

async function startWeir(lab: Lab): Promise<Peer> {
  const { ipv4 } = lab.addService({
    name: 'web',
    namespace: 'bench',
    selector: { app: 'web' },
    ports: [{ name: 'http', port: 80, targetPort: BACKEND_PORT }],
  })
  lab.apply(ROUTE_AND_POLICY, 'route-and-policy.yaml')
  const agent = await lab.startAgent({ proxies: 1, extraArgs: ['--access-log', join(lab.dir, 'access.log')] })
  await agent.waitFor('world applied')
  const { stdout } = await agent.cli('status', ['--json'])
  const { proxies } = JSON.parse(stdout) as { proxies: { pid: number }[] }
  return { name: 'weir', url: `http://${ipv4}/`, pids: [agent.pid, ...proxies.map(({ pid }) => pid)] }
}

export async function oneHop(options: BenchOptions): Promise<BenchRow[]> {
  await using lab = await openLab({ ipv6: false })
  const pod = (name: string, optedIn: boolean) =>
    lab.addPod({
      name,
      namespace: 'bench',
      serviceAccount: name,
      labels: { app: name },
      ports: [{ name: 'http', containerPort: BACKEND_PORT }],
      optedIn,
    })
  const client = await pod('client', true)
  const web = await pod('web', true)
  const peerPod = await pod('peer', false)
  await startBackend(web, lab.dir)
  await startBackend(peerPod, lab.dir)
  const peers = [
    { host: client, peer: await startWeir(lab) },
    { host: peerPod, peer: await startHaproxy(peerPod, lab.dir) },
    { host: peerPod, peer: await startNginx(peerPod, lab.dir) },
    { host: peerPod, peer: await startHttpProxy(peerPod) },
  ]
  return await compare('one-hop', peers, options)
}
