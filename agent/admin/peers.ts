/**
 * Other nodes, through their agents: `/nodes/NAME/…` asks the agent of that name what it would answer itself. Only addresses
 * that were configured are asked, only for what may be read, with a token of our own; nothing of what a browser sent but the
 * path goes there, nothing but the answer's text comes back.
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import { type Duplex, Readable } from 'node:stream'
import type { ProxyServer } from 'http-proxy-3'
import { errorLine } from '#base'
import { errorReply, jsonReply, type Reply } from './reply.ts'
import { SECURITY_HEADERS } from './security-headers.ts'
import { refuseUpgrade, STREAMS } from './streams.ts'

export interface AdminPeers {
  /** Name → `HOST:PORT`, as of now. */
  addresses(): ReadonlyMap<string, string>
  /** Shown to them; empty for none. */
  token(): string
}

export interface PeerTarget {
  readonly name: string
  readonly address: string
  /** Path and query that the peer is asked. */
  readonly path: string
}

const NODES_PATH = '/nodes'
const READABLE: ReadonlySet<string> = new Set([
  '/alerts',
  '/diagnose',
  '/explain',
  '/pods',
  '/policies',
  '/problems',
  '/routes',
  '/status',
  '/traffic',
])
const POD_PATH = /^\/pods\/[^/]+\/[^/]+$/
const TIMEOUT_MS = 6_000
const MAX_BYTES = 64 << 20
/** Of RFC 9110 section 15, those that end a request. What is none (`HTTP/1.1 000`) Node reads, but throws when it is to write it. */
const LEAST_STATUS = 200
const MOST_STATUS = 599

/** What `/nodes` answers. */
export function listNodes(own: string, peers: AdminPeers | undefined, asksToken: boolean): Reply {
  const others = [...(peers?.addresses().keys() ?? [])].filter((name) => name !== own).toSorted()
  const nodes = [{ name: own, own: true }, ...others.map((name) => ({ name, own: false }))]
  return jsonReply({ nodes, asksToken })
}

export function isPeerPath(path: string): boolean {
  return path.startsWith(`${NODES_PATH}/`)
}

/** A reply: why it is asked of nobody. */
export function peerTarget(peers: AdminPeers | undefined, url: URL, isStream: boolean): PeerTarget | Reply {
  const [, , name = '', ...rest] = url.pathname.split('/')
  const known = peers?.addresses() ?? new Map<string, string>()
  const decoded = decodedName(name)
  const address = known.get(decoded)
  if (address === undefined)
    return errorReply(404, `No such node; there are ${[...known.keys()].join(', ') || 'no others'}`)
  const path = `/${rest.join('/')}`
  const isReadable = STREAMS.has(path) || (!isStream && (READABLE.has(path) || POD_PATH.test(path)))
  if (!isReadable) return errorReply(404, `${path} is not asked of other nodes`)
  return { name: decoded, address, path: `${path}${url.search}` }
}

function decodedName(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Loaded with the first who asks. */
let proxy: Promise<ProxyServer> | undefined

export async function askPeer(
  { name, address, path }: PeerTarget,
  token: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const server = await openProxy()
  request.resume()
  request.url = path
  request.headers = { accept: 'application/json' }
  // Without a body, whatever came with it.
  const options = { target: `http://${address}`, headers: tokenHeader(token), buffer: Readable.from([]) }
  server.web(request, response, options, (error) => {
    answer(response, errorReply(502, `The agent of ${name} does not answer at ${address}: ${errorLine(error)}`))
  })
}

export async function streamPeer(
  { name, address, path }: PeerTarget,
  token: string,
  request: IncomingMessage,
  socket: Duplex,
): Promise<void> {
  const server = await openProxy()
  const { 'sec-websocket-key': key = '', 'sec-websocket-version': version = '' } = request.headers
  request.url = path
  request.headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-key': key,
    'sec-websocket-version': version,
  }
  const options = { target: `http://${address}`, headers: tokenHeader(token) }
  server.ws(request, socket, Buffer.alloc(0), options, (error) => {
    if (answered.has(socket)) return
    answered.add(socket)
    refuseUpgrade(socket, errorReply(502, `The agent of ${name} does not answer at ${address}: ${errorLine(error)}`))
  })
}

/** Sockets on which an answer has begun: what goes wrong then is told by their end. */
const answered = new WeakSet<Duplex>()

function tokenHeader(token: string): Record<string, string> {
  return token === '' ? {} : { authorization: `Bearer ${token}` }
}

async function openProxy(): Promise<ProxyServer> {
  proxy ??= import('http-proxy-3').then(({ createProxyServer }) => {
    const server = createProxyServer({ changeOrigin: true, proxyTimeout: TIMEOUT_MS, selfHandleResponse: true })
    server.on('proxyReq', (sent: ClientRequest, _request, response) => {
      const timer = setTimeout(() => sent.destroy(new Error('it did not answer in time')), TIMEOUT_MS)
      for (const event of ['response', 'close']) sent.once(event, () => clearTimeout(timer))
      // Without a listener the connection would be closed, and nobody be told.
      sent.once('upgrade', ({ statusCode }, socket) => {
        socket.destroy()
        answer(response, noAnswer(statusCode))
      })
    })
    server.on('proxyRes', (received, _request, response) => passOn(received, response))
    server.on('proxyReqWs', (sent: ClientRequest, _request, socket) => {
      const timer = setTimeout(() => sent.destroy(new Error('it did not answer in time')), TIMEOUT_MS)
      const begin = (received: IncomingMessage, names: readonly string[]) => {
        answered.add(socket)
        clearTimeout(timer)
        // Before the proxy sees them: what it sends on is what is left.
        keep(received, names)
      }
      sent.once('upgrade', (received) => begin(received, ['connection', 'upgrade', 'sec-websocket-accept']))
      sent.once('response', (received) => begin(received, ['content-type', 'content-length']))
      sent.once('close', () => clearTimeout(timer))
    })
    // Each has been told to whoever asked; without a listener it would be thrown.
    server.on('error', () => {})
    return server
  })
  return await proxy
}

function keep(received: IncomingMessage, names: readonly string[]): void {
  received.headers = Object.fromEntries(
    names.flatMap((name) => {
      const value = received.headers[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

/** Text of JSON, whatever it says that it is. */
function passOn(received: IncomingMessage, response: ServerResponse): void {
  if (received.statusCode === 401 || received.statusCode === 429) {
    received.resume()
    answer(response, errorReply(502, 'That agent does not take the token of this one: see --admin-peer-token-file'))
    return
  }
  const status = received.statusCode ?? 0
  if (status < LEAST_STATUS || status > MOST_STATUS) {
    received.destroy()
    answer(response, noAnswer(status))
    return
  }
  const timer = setTimeout(() => received.destroy(new Error('it did not answer in time')), TIMEOUT_MS)
  let bytes = 0
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    ...SECURITY_HEADERS,
  })
  received.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > MAX_BYTES) received.destroy(new Error('the answer is larger than 64 MiB'))
  })
  received.on('close', () => {
    clearTimeout(timer)
    if (!received.complete) response.destroy()
  })
  received.on('error', () => response.destroy())
  received.pipe(response)
}

function noAnswer(status = 0): Reply {
  return errorReply(502, `That agent answered with status ${status}, which ends no request: is it one?`)
}

function answer(response: ServerResponse, { status, contentType, body }: Reply): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const length = Buffer.byteLength(body)
  response.writeHead(status, { 'content-type': contentType, 'content-length': length, ...SECURITY_HEADERS })
  response.end(body)
}
