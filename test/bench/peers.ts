/**
 * The peers' configurations. Each does what Weir does in the same run: a route by header, an allow-list by
 * source and method, the caller's identity added as a header, an access log; and each gets its connections as
 * a sidecar would: redirected by iptables from a Service's address. Backend and peer share one namespace.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import nodeProcess from 'node:process'
import type { LabPod } from '../support/lab.ts'
import type { LabProcess } from '../support/lab-process.ts'

export const BACKEND_PORT = 8080
const PEER_PORT = 9000
const HTTP_PROXY_SERVER = join(import.meta.dirname, 'http-proxy-server.ts')

export interface Peer {
  readonly name: string
  readonly url: string
  readonly headers?: readonly string[]
  readonly pids: readonly number[]
}

/** Redirects the connections that the pod opens to `address`, port 80, to the peer; returns the URL. */
export async function redirect(pod: LabPod, address: string, port: number): Promise<string> {
  const rule = [
    '-t',
    'nat',
    '-A',
    'OUTPUT',
    '-d',
    address,
    '-p',
    'tcp',
    '--dport',
    '80',
    '-j',
    'REDIRECT',
    '--to-ports',
    String(port),
  ]
  const { code, stderr } = await pod.exec('iptables', rule)
  if (code !== 0) throw new Error(`iptables: ${stderr}`)
  return `http://${address}/`
}

/** nginx answering 200 with a short body: the backend of all. */
export async function startBackend(pod: LabPod, dir: string): Promise<LabProcess> {
  const config = join(dir, `backend-${pod.name}.conf`)
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${config}.pid; error_log stderr;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path ${dir}/b1; proxy_temp_path ${dir}/b2;
  fastcgi_temp_path ${dir}/b3; uwsgi_temp_path ${dir}/b4; scgi_temp_path ${dir}/b5;
  server { listen ${BACKEND_PORT}; location / { default_type text/plain; return 200 "A short answer, about as long as many an API's: 120 bytes with the head.\\n"; } } }
`,
  )
  const backend = pod.spawn('nginx', ['-c', config])
  await reachable(pod, `http://127.0.0.1:${BACKEND_PORT}/`)
  return backend
}

/** Waits until something answers. */
export async function reachable(pod: LabPod, url: string): Promise<void> {
  const { status } = await pod.curl(url, [
    '--retry',
    '50',
    '--retry-connrefused',
    '--retry-delay',
    '0',
    '--retry-max-time',
    '10',
  ])
  if (status !== 200) throw new Error(`${url} answered ${status}`)
}

interface HaproxyHop {
  readonly port: number
  readonly backendPort: number
  /** Those that are let through. */
  readonly methods: string
  /** At both sides: empty for HTTP/1.1, else ` proto h2`. */
  readonly protocol: string
}

export const haproxyConfig = ({ port, backendPort, methods, protocol }: HaproxyHop): string => `global
  nbthread 1
  maxconn 4096
  log stdout len 1024 format raw local0
defaults
  mode http
  option httplog
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend one
  bind 127.0.0.1:${port}${protocol}
  http-request deny unless { src 10.0.0.0/8 } { method ${methods} } { path_beg / }
  http-request set-header x-forwarded-client-cert By=spiffe://cluster.local/ns/bench/sa/web;URI=spiffe://cluster.local/ns/bench/sa/client
  use_backend canary if { req.hdr(x-canary) v2 }
  default_backend everyone
backend everyone
  http-reuse always
  server web 127.0.0.1:${backendPort}${protocol}
backend canary
  http-reuse always
  server web 127.0.0.1:${backendPort}${protocol}
`

export async function startHaproxy(pod: LabPod, dir: string): Promise<Peer> {
  const config = join(dir, 'haproxy.cfg')
  writeFileSync(config, haproxyConfig({ port: PEER_PORT, backendPort: BACKEND_PORT, methods: 'GET', protocol: '' }))
  const url = await redirect(pod, '10.97.0.1', PEER_PORT)
  // Its log goes to a file, as Weir's does.
  const process = pod.spawn('sh', ['-c', `exec haproxy -db -f ${config} >${dir}/haproxy.log`])
  await reachable(pod, url)
  return { name: 'haproxy', url, pids: [process.pid] }
}

export async function startNginx(pod: LabPod, dir: string): Promise<Peer> {
  const config = join(dir, 'nginx.conf')
  const port = PEER_PORT + 1
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${config}.pid; error_log stderr;
events { worker_connections 4096; }
http { access_log ${dir}/nginx.log combined buffer=64k flush=1s; keepalive_requests 1000000000;
  client_body_temp_path ${dir}/n1; proxy_temp_path ${dir}/n2; fastcgi_temp_path ${dir}/n3; uwsgi_temp_path ${dir}/n4;
  scgi_temp_path ${dir}/n5;
  upstream everyone { server 127.0.0.1:${BACKEND_PORT}; keepalive 128; keepalive_requests 1000000000; }
  upstream canary { server 127.0.0.1:${BACKEND_PORT}; keepalive 128; }
  map $http_x_canary $pool { v2 canary; default everyone; }
  server { listen 127.0.0.1:${port}; location / { limit_except GET { deny all; } allow 10.0.0.0/8; deny all;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
    proxy_set_header x-forwarded-client-cert By=spiffe://cluster.local/ns/bench/sa/web;
    proxy_pass http://$pool; } } }
`,
  )
  const url = await redirect(pod, '10.97.0.2', port)
  const process = pod.spawn('nginx', ['-c', config])
  await reachable(pod, url)
  return { name: 'nginx', url, pids: [process.pid] }
}

/** npm http-proxy as its documentation starts it: a plain hop, without route, policy or log. */
export async function startHttpProxy(pod: LabPod): Promise<Peer> {
  const port = PEER_PORT + 2
  const url = await redirect(pod, '10.97.0.3', port)
  const target = `http://127.0.0.1:${BACKEND_PORT}`
  const process = pod.spawn(nodeProcess.execPath, [HTTP_PROXY_SERVER, String(port), target])
  await process.waitForLine(/^listening/)
  await reachable(pod, url)
  return { name: 'http-proxy', url, pids: [process.pid] }
}
