/**
 * Two nodes with mutual TLS between their proxies, for the cases that need them. Weir: route, policy, metrics and access log
 * on both nodes. Peers: HAProxy on each node, with the same kind of certificates, verified both ways: HTTP/1.1 over pooled
 * TLS connections (`haproxy`), HTTP/2 (`haproxy-h2`), or bytes (`haproxy` for opaque TCP).
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import nodeProcess from 'node:process'
import { CertificateAuthority, createKeyPair } from '#identity/ca'
import { type Lab, type LabPod, openLab } from '../support/lab.ts'
import type { LabNode } from '../support/lab-node.ts'
import type { Contender } from './compare.ts'
import { BACKEND_PORT, type Peer, reachable, redirect, startBackend } from './peers.ts'
import { pidsOf, routeAndPolicy } from './weir-peer.ts'

const SINK_SERVER = join(import.meta.dirname, 'sink-server.ts')
const TLS_PORT = 9443
/** Where the pods' servers take bytes and throw them away. */
const SINK_PORT = 7000

const POLICY_FOR_BYTES = `
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: bytes, namespace: bench }
spec:
  selector: { matchLabels: { app: web } }
  rules:
    - from: [{ source: { principals: [cluster.local/ns/bench/sa/client] } }]
      to: [{ operation: { ports: ["${SINK_PORT}"] } }]
`

export interface TwoHops extends AsyncDisposable {
  readonly http: readonly Contender[]
  /** `url` is `tcp://ADDRESS:PORT`. */
  readonly tcp: readonly Contender[]
}

export async function openTwoHops(): Promise<TwoHops> {
  const lab = await openLab({ nodes: 2, ipv6: false })
  try {
    const [here, there] = lab.nodes
    if (here === undefined || there === undefined) throw new Error('The lab has fewer than two nodes')
    const pod = (node: LabNode, name: string, optedIn: boolean) =>
      node.addPod({ name, namespace: 'bench', serviceAccount: name, labels: { app: name }, optedIn })
    const client = await pod(here, 'client', true)
    const web = await pod(there, 'web', true)
    const near = await pod(here, 'near', false)
    const far = await pod(there, 'far', false)
    for (const server of [web, far]) {
      await startBackend(server, lab.dir)
      const sink = server.spawn(nodeProcess.execPath, [SINK_SERVER, String(SINK_PORT)])
      await sink.waitForLine(/^listening/)
    }
    const weir = await startWeir(lab, [here, there])
    const haproxy = await startHaproxies('haproxy', near, far, lab.dir, 0)
    const bytes = await startHaproxies('haproxy-tcp', near, far, lab.dir, 2)
    return {
      http: [
        { host: client, peer: weir },
        { host: near, peer: haproxy },
        { host: near, peer: await startHaproxies('haproxy-h2', near, far, lab.dir, 1) },
      ],
      tcp: [
        { host: client, peer: { ...weir, url: `tcp://${web.ipv4}:${SINK_PORT}` } },
        { host: near, peer: { ...bytes, name: 'haproxy' } },
      ],
      [Symbol.asyncDispose]: () => lab.close(),
    }
  } catch (thrown) {
    await lab.close()
    throw thrown
  }
}

async function startWeir(lab: Lab, nodes: readonly LabNode[]): Promise<Peer> {
  const ports = [{ name: 'http', port: 80, targetPort: BACKEND_PORT }]
  const { ipv4 } = lab.addService({ name: 'web', namespace: 'bench', selector: { app: 'web' }, ports })
  lab.apply(routeAndPolicy('GET'), 'route-and-policy.yaml')
  lab.apply(POLICY_FOR_BYTES, 'policy-for-bytes.yaml')
  const pids: number[] = []
  for (const node of nodes) {
    const log = join(lab.dir, `access-${node.name}.log`)
    const agent = await node.startAgent({
      proxies: 1,
      extraArgs: ['--access-log', log, '--ca-dir', join(lab.dir, 'ca')],
    })
    pids.push(...(await pidsOf(agent)))
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
  name: 'haproxy' | 'haproxy-h2' | 'haproxy-tcp',
  near: LabPod,
  far: LabPod,
  dir: string,
  at: number,
): Promise<Peer> {
  const { own, roots } = await writeCertificates(dir)
  const alpn = name === 'haproxy-h2' ? 'alpn h2' : name === 'haproxy' ? 'alpn http/1.1' : ''
  const [plainPort, tlsPort] = [9000 + at, TLS_PORT + at]
  const start = async (pod: LabPod, role: string, text: string): Promise<number> => {
    const config = join(dir, `${name}-${role}.cfg`)
    writeFileSync(config, DEFAULTS + text)
    // Logs go to a file, as Weir's do.
    const process = pod.spawn('sh', ['-c', `exec haproxy -db -f ${config} >${dir}/${name}-${role}.log`])
    return process.pid
  }
  const secure = `ssl crt ${own} ca-file ${roots} verify required ${alpn}`
  const bytes = name === 'haproxy-tcp'
  const farPid = await start(far, 'far', bytes ? farBytes(tlsPort, secure) : farHttp(tlsPort, secure))
  const nearPid = await start(
    near,
    'near',
    bytes
      ? nearBytes(plainPort, `${far.ipv4}:${tlsPort}`, secure)
      : nearHttp(plainPort, `${far.ipv4}:${tlsPort}`, secure),
  )
  const url = await redirect(near, `10.97.1.${at + 1}`, plainPort)
  const pids = [nearPid, farPid]
  const listening = `for i in $(seq 50); do nc -z 127.0.0.1 ${plainPort} && exit 0; sleep 0.1; done; exit 1`
  if ((await near.exec('sh', ['-c', listening])).code !== 0) throw new Error(`${name} does not listen`)
  if (bytes) return { name, url: url.replace(/^http:\/\/(.*)\/$/, 'tcp://$1:80'), pids }
  await reachable(near, url)
  return { name, url, pids }
}

const farHttp = (port: number, secure: string) => `frontend tunnel
  bind :${port} ${secure} ssl-min-ver TLSv1.3
  http-request deny unless { src 10.0.0.0/8 } { method GET } { path_beg / }
  http-request set-header x-forwarded-client-cert By=spiffe://cluster.local/ns/bench/sa/web;URI=spiffe://cluster.local/ns/bench/sa/client
  default_backend web
backend web
  http-reuse always
  server web 127.0.0.1:${BACKEND_PORT}
`

const nearHttp = (port: number, far: string, secure: string) => `frontend outbound
  bind 127.0.0.1:${port}
  use_backend canary if { req.hdr(x-canary) v2 }
  default_backend everyone
backend everyone
  http-reuse always
  server far ${far} ${secure}
backend canary
  http-reuse always
  server far ${far} ${secure}
`

const farBytes = (port: number, secure: string) => `frontend tunnel
  mode tcp
  option tcplog
  bind :${port} ${secure} ssl-min-ver TLSv1.3
  default_backend sink
backend sink
  mode tcp
  server sink 127.0.0.1:${SINK_PORT}
`

const nearBytes = (port: number, far: string, secure: string) => `frontend outbound
  mode tcp
  option tcplog
  bind 127.0.0.1:${port}
  default_backend far
backend far
  mode tcp
  server far ${far} ${secure}
`
