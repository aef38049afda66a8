/**
 * Cases `h2` and `grpc-unary`: HTTP/2 in clear text through one proxy on one node, h2load with 10 streams in each
 * connection. Weir as in `one-hop`; the peer is HAProxy with HTTP/2 at both sides. The server is nginx, which ends its
 * answers to gRPC calls with a status in the trailers.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type LabPod, openLab } from '../support/lab.ts'
import { measureHttp2 } from './h2-load.ts'
import { haproxyConfig, type Peer, redirect } from './peers.ts'
import { type BenchOptions, type BenchRow, medianRow } from './rows.ts'
import { startWeir } from './weir-peer.ts'

const BACKEND_PORT = 8081
const PEER_PORT = 9010

/** What a client sends: a plain GET, or a call with a message of 32 bytes. */
interface Kind {
  readonly name: string
  readonly portName: string
  readonly method: string
  readonly headers: readonly string[]
  readonly body: Buffer | undefined
}

const GET: Kind = { name: 'h2', portName: 'http2', method: 'GET', headers: [], body: undefined }
const CALL: Kind = {
  name: 'grpc-unary',
  portName: 'grpc',
  method: 'POST',
  headers: ['content-type: application/grpc', 'te: trailers'],
  body: Buffer.from([0, 0, 0, 0, 32, ...Buffer.alloc(32, 120)]),
}

async function startBackend(pod: LabPod, dir: string): Promise<void> {
  const config = join(dir, `backend-${pod.name}.conf`)
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${config}.pid; error_log stderr;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path ${dir}/b1; proxy_temp_path ${dir}/b2;
  fastcgi_temp_path ${dir}/b3; uwsgi_temp_path ${dir}/b4; scgi_temp_path ${dir}/b5;
  map $request_method $kind { POST application/grpc; default text/plain; }
  map $request_method $call_status { POST 0; default ""; }
  server { listen ${BACKEND_PORT} http2; location / { default_type $kind; add_trailer grpc-status $call_status;
    return 200 "A short answer, about as long as many an API's: 120 bytes with the head.\\n"; } } }
`,
  )
  pod.spawn('nginx', ['-c', config])
  await answers(pod, `http://127.0.0.1:${BACKEND_PORT}/`)
}

async function answers(pod: LabPod, url: string): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    const { code } = await pod.exec('curl', ['-fsS', '--http2-prior-knowledge', '-o', '/dev/null', url])
    if (code === 0) return
  }
  throw new Error(`${url} does not answer over HTTP/2`)
}

async function startHaproxy(pod: LabPod, dir: string): Promise<Peer> {
  const config = join(dir, 'haproxy-h2.cfg')
  writeFileSync(
    config,
    haproxyConfig({ port: PEER_PORT, backendPort: BACKEND_PORT, methods: 'GET POST', protocol: ' proto h2' }),
  )
  const url = await redirect(pod, '10.97.0.1', PEER_PORT)
  const process = pod.spawn('sh', ['-c', `exec haproxy -db -f ${config} >${dir}/haproxy-h2.log`])
  await answers(pod, url)
  return { name: 'haproxy', url, pids: [process.pid] }
}

async function run(kind: Kind, options: BenchOptions): Promise<BenchRow[]> {
  await using lab = await openLab({ ipv6: false })
  const pod = (name: string, optedIn: boolean) =>
    lab.addPod({ name, namespace: 'bench', serviceAccount: name, labels: { app: name }, optedIn })
  const [client, web, peerPod] = [await pod('client', true), await pod('web', true), await pod('peer', false)]
  await startBackend(web, lab.dir)
  await startBackend(peerPod, lab.dir)
  const weir = await startWeir(lab, {
    name: 'weir',
    portName: kind.portName,
    backendPort: BACKEND_PORT,
    method: kind.method,
    flags: ['--access-log', join(lab.dir, 'access.log')],
  })
  const contenders = [
    { host: client, peer: weir },
    { host: peerPod, peer: await startHaproxy(peerPod, lab.dir) },
  ]
  const logFile = join(lab.dir, 'h2load.log')
  const bodyFile = join(lab.dir, 'call')
  if (kind.body !== undefined) writeFileSync(bodyFile, kind.body)
  const load = (index: number, connections: number, seconds: number) => {
    const { host, peer } = contenders[index] as (typeof contenders)[0]
    const body = kind.body === undefined ? {} : { bodyFile }
    return measureHttp2(
      { host, ...peer, connections, seconds, headers: kind.headers, logFile, ...body },
      kind.name,
      peer.name,
    )
  }
  for (const index of contenders.keys()) await load(index, 32, 2)
  const rows: BenchRow[] = []
  for (const connections of options.connections) {
    const measured: BenchRow[][] = contenders.map(() => [])
    for (let round = 0; round < options.rounds; round++) {
      for (const index of contenders.keys()) measured[index]?.push(await load(index, connections, options.seconds))
    }
    rows.push(...measured.map(medianRow))
  }
  return rows
}

export function http2Gets(options: BenchOptions): Promise<BenchRow[]> {
  return run(GET, options)
}

export function grpcUnary(options: BenchOptions): Promise<BenchRow[]> {
  return run(CALL, options)
}
