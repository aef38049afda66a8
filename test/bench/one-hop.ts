/**
 * Case `one-hop`: HTTP/1.1 through one proxy on one node. Weir: wrk in an enrolled pod, redirected by iptables,
 * to a Service of an enrolled pod, with HTTPRoute, AuthorizationPolicy, metrics and access log. Peers: see peers.ts.
 */
import { join } from 'node:path'
import { openLab } from '../support/lab.ts'
import { compare } from './compare.ts'
import { BACKEND_PORT, startBackend, startHaproxy, startHttpProxy, startNginx } from './peers.ts'
import type { BenchOptions, BenchRow } from './rows.ts'
import { startWeir } from './weir-peer.ts'

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
  const flags = ['--access-log', join(lab.dir, 'access.log')]
  const weir = await startWeir(lab, { name: 'weir', portName: 'http', backendPort: BACKEND_PORT, method: 'GET', flags })
  const peers = [
    { host: client, peer: weir },
    { host: peerPod, peer: await startHaproxy(peerPod, lab.dir) },
    { host: peerPod, peer: await startNginx(peerPod, lab.dir) },
    { host: peerPod, peer: await startHttpProxy(peerPod) },
  ]
  return await compare('one-hop', peers, options)
}
