/**
 * Case `two-hop-mtls`: HTTP/1.1 from a pod of one node to a pod of another, mutual TLS between the two proxies. Weir:
 * route, policy, metrics and access log on both nodes. Peers: HAProxy on each node, HTTP/1.1 over pooled TLS connections
 * (`haproxy`) or HTTP/2 (`haproxy-h2`) between them, with the same kind of certificates, verified both ways.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CertificateAuthority, createKeyPair } from '#identity/ca'
import { type Lab, type LabPod, openLab } from '../support/lab.ts'
import type { LabNode } from '../support/lab-node.ts'
import { compare } from './compare.ts'
import { ROUTE_AND_POLICY } from './one-hop.ts'
import { BACKEND_PORT, type Peer, reachable, redirect, startBackend } from './peers.ts'
import type { BenchOptions, BenchRow } from './rows.ts'

const TLS_PORT = 9443

async function startWeir(lab: Lab, nodes: readonly LabNode[]): Promise<Peer> {
  const ports = [{ name: 'http', port: 80, targetPort: BACKEND_PORT }]
  const { ipv4 } = lab.addService({ name: 'web', namespace: 'bench', selector: { app: 'web' }, ports })
  lab.apply(ROUTE_AND_POLICY, 'route-and-policy.yaml')
  const pids: number[] = []
  for (const node of nodes) {
    const log = join(lab.dir, `access-${node.name}.log`)
    const agent = await node.startAgent({
      proxies: 1,
      extraArgs: ['--access-log', log, '--ca-dir', join(lab.dir, 'ca')],
    })
    const { stdout } = await agent.cli('status', ['--json'])
    const { proxies } = JSON.parse(stdout) as { proxies: { pid: number }[] }
    pids.push(agent.pid, ...proxies.map(({ pid }) => pid))
  }
  return { name: 'weir', url: `http://${ipv4}/`, pids }
}

/** One certificate for both ends, as HAProxy wants it: chain and key in one file; and the roots. */
async function writeCertificates(dir: string): Promise<{ readonly own: string; readonly roots: string }> {
  const nowMs = Date.now()
  const authority = await CertificateAuthority.generate(nowMs)
  const { publicKeyPem, privateKeyPem } = await createKeyPair()
  const spiffeId = 'spiffe://cluster.local/ns/bench/sa/peer'
  const made = await authority.sign({ publicKey: publicKeyPem, spiffeId, ttlMs: 86_400_000, nowMs })
  const [own, roots] = [join(dir, 'peer.pem'), join(dir, 'roots.pem')]
  writeFileSync(own, [made.certificatePem, ...made.intermediatesPem, privateKeyPem].join('\n'))
  writeFileSync(roots, made.trustBundlePem.join('\n'))
  return { own, roots }
}

const DEFAULTS = `global
  nbthread 1
  maxconn 8192
  log stdout len 1024 format raw local0
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode http
  option httplog
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
`

async function startHaproxies(
  name: 'haproxy' | 'haproxy-h2',
  near: LabPod,
  far: LabPod,
  dir: string,
  at: number,
): Promise<Peer> {
  const { own, roots } = await writeCertificates(dir)
  const alpn = name === 'haproxy' ? 'http/1.1' : 'h2'
  const [plainPort, tlsPort] = [9000 + at, TLS_PORT + at]
  const start = async (pod: LabPod, role: string, text: string): Promise<number> => {
    const config = join(dir, `${name}-${role}.cfg`)
    writeFileSync(config, DEFAULTS + text)
    // Logs go to a file, as Weir's do.
    const process = pod.spawn('sh', ['-c', `exec haproxy -db -f ${config} >${dir}/${name}-${role}.log`])
    return process.pid
  }
  const farPid = await start(
    far,
    'far',
    `frontend tunnel
  bind :${tlsPort} ssl crt ${own} ca-file ${roots} verify required alpn ${alpn} ssl-min-ver TLSv1.3
  http-request deny unless { src 10.0.0.0/8 } { method GET } { path_beg / }
  http-request set-header x-forwarded-client-cert By=spiffe://cluster.local/ns/bench/sa/web;URI=spiffe://cluster.local/ns/bench/sa/client
  default_backend web
backend web
  http-reuse always
  server web 127.0.0.1:${BACKEND_PORT}
`,
  )
  const nearPid = await start(
    near,
    'near',
    `frontend outbound
  bind 127.0.0.1:${plainPort}
  use_backend canary if { req.hdr(x-canary) v2 }
  default_backend everyone
backend everyone
  http-reuse always
  server far ${far.ipv4}:${tlsPort} ssl crt ${own} ca-file ${roots} verify required alpn ${alpn}
backend canary
  http-reuse always
  server far ${far.ipv4}:${tlsPort} ssl crt ${own} ca-file ${roots} verify required alpn ${alpn}
`,
  )
  const url = await redirect(near, `10.97.1.${at + 1}`, plainPort)
  await reachable(near, url)
  return { name, url, pids: [nearPid, farPid] }
}

export async function twoHopMtls(options: BenchOptions): Promise<BenchRow[]> {
  await using lab = await openLab({ nodes: 2, ipv6: false })
  const [here, there] = lab.nodes
  if (here === undefined || there === undefined) throw new Error('The lab has fewer than two nodes')
  const spec = (name: string, optedIn: boolean) => ({
    name,
    namespace: 'bench',
    serviceAccount: name,
    labels: { app: name },
    optedIn,
  })
  const client = await here.addPod(spec('client', true))
  const web = await there.addPod(spec('web', true))
  const near = await here.addPod(spec('near', false))
  const far = await there.addPod(spec('far', false))
  await startBackend(web, lab.dir)
  await startBackend(far, lab.dir)
  const peers = [
    { host: client, peer: await startWeir(lab, [here, there]) },
    { host: near, peer: await startHaproxies('haproxy', near, far, lab.dir, 0) },
    { host: near, peer: await startHaproxies('haproxy-h2', near, far, lab.dir, 1) },
  ]
  return await compare('two-hop-mtls', peers, options)
}
