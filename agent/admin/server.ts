/**
 * The admin API over HTTP: on a socket that only root may open, and on a TCP address. Bounded in connections,
 * heads and time; whatever goes wrong inside is answered and logged, and never reaches the agent.
 */

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { errorLine, startTimer } from '#base'
import { type AdminAccess, Gatekeeper, LOGIN_PATH, LOGOUT_PATH } from './access.ts'
import type { AdminBackend } from './backend.ts'
import { Connections } from './connections.ts'
import { isAddressInUse, isLoopback, listenOnAddress, listenOnSocket } from './listen.ts'
import { isPagePath, pageReply } from './page/page-files.ts'
import { answerPath } from './paths.ts'
import { type AdminPeers, askPeer, isPeerPath, listNodes, type PeerTarget, peerTarget, streamPeer } from './peers.ts'
import type { Reply } from './reply.ts'
import { bytesOf, errorReply } from './reply.ts'
import { SECURITY_HEADERS } from './security-headers.ts'
import { type AnswerTo, sharedMetrics } from './shared-metrics.ts'
import { prepareStream, refuseOrigin, refuseUpgrade, serveStream } from './streams.ts'

export interface AdminOptions {
  /** STATE_DIR/admin.sock; made with mode 0600, removed on dispose. */
  readonly socketPath: string
  /** `HOST:PORT`, `[IPv6]:PORT`; no TCP listener when absent. */
  readonly address?: string
  readonly backend: AdminBackend
  /** At an address that is not loopback, without it nothing but probes and metrics is answered. */
  readonly access?: AdminAccess
  /** Agents of other nodes, which can be asked through this one. */
  readonly peers?: AdminPeers
  readonly logger: { warn(details: object, message: string): void }
  /** Longest that the backend may take for one answer. Default 5 000. */
  readonly answerTimeoutMs?: number
}

export interface AdminServer extends AsyncDisposable {
  /** Where TCP listens in fact (port 0 asks for any), or undefined. */
  readonly address: string | undefined
}

/** A browser has half a dozen; probes must find room beside many of them. */
const MAX_CONNECTIONS = 256

/** Throws `WEIR_ADMIN_LISTEN`, one line that names the address and the flag, when it cannot listen. */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const local = createAdminServer(options, 'socket')
  await listenOnSocket(local, options.socketPath)
  if (options.address === undefined) return disposable([local], undefined)
  const remote = createAdminServer(options, hostRule(options.address))
  try {
    const address = await listenOnAddress(remote, options.address)
    return disposable([local, remote], address)
  } catch (error) {
    await closeServer(local)
    throw error
  }
}

export interface StandbyAdmin extends AsyncDisposable {
  /** The agent before has gone, or is about to. @throws as `startAdmin`, but for an address in use */
  takeSocket(): Promise<void>
}

const ADDRESS_RETRY_MS = 200

/**
 * Beside another agent, which has the socket: the address only, and that once the other has let go of it, where both are of
 * one network namespace.
 */
export async function startStandbyAdmin(options: AdminOptions): Promise<StandbyAdmin> {
  const servers: Server[] = []
  let retry: Disposable | undefined
  let isClosed = false
  const tryAddress = async (address: string): Promise<void> => {
    const remote = createAdminServer(options, hostRule(address))
    try {
      await listenOnAddress(remote, address)
      servers.push(remote)
      if (isClosed) await closeServer(remote)
    } catch (error) {
      if (!isAddressInUse(error)) throw error
      const again = () => {
        tryAddress(address).catch((thrown: unknown) => options.logger.warn({ err: thrown }, 'admin server error'))
      }
      if (!isClosed) retry = startTimer(ADDRESS_RETRY_MS, again)
    }
  }
  if (options.address !== undefined) await tryAddress(options.address)
  return {
    takeSocket: async () => {
      const local = createAdminServer(options, 'socket')
      await listenOnSocket(local, options.socketPath)
      servers.push(local)
    },
    async [Symbol.asyncDispose]() {
      isClosed = true
      retry?.[Symbol.dispose]()
      await Promise.all(servers.map(closeServer))
    },
  }
}

/**
 * Over `socket` it is root that asks; over an address anybody may. `loopback`: the Host header must be an address or
 * `localhost`, against pages that rebind their name to us.
 */
type HostRule = 'socket' | 'any' | 'loopback'

/** What starts programs is root's to ask. */
const ROOT_ONLY: ReadonlySet<string> = new Set(['/doctor'])

/** One listener: who may ask there, and whom. */
interface Door {
  readonly options: AdminOptions
  readonly hosts: HostRule
  /** Where a token is asked for. */
  readonly gatekeeper: Gatekeeper | undefined
  readonly answers: AnswerTo
}

function createAdminServer(options: AdminOptions, hosts: HostRule): Server {
  const limits = { maxHeaderSize: 16_384, headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 5_000 }
  const access = options.access ?? NOBODY
  const ask: AnswerTo = (path, query) => answerPath(options.backend, path, query)
  const door: Door = {
    options,
    hosts,
    gatekeeper: hosts === 'any' ? new Gatekeeper(access) : undefined,
    answers: hosts === 'any' ? sharedMetrics(ask) : ask,
  }
  const connections = new Connections()
  const server = createServer(limits, (request, response) => {
    const { socket } = request
    if (!connections.asks(socket, response)) {
      socket.destroy()
      return
    }
    const whenAnswered = () => connections.answered(socket, response)
    handle(door, request, response, whenAnswered).catch((error: unknown) => {
      options.logger.warn({ err: error }, 'admin answer failed')
      response.destroy()
    })
  })
  server.maxConnections = MAX_CONNECTIONS
  server.on('connection', (socket) => connections.opened(socket))
  // Until then an error is the start's own, and is told by whoever started it.
  server.once('listening', () => {
    server.on('error', (error) => options.logger.warn({ err: error }, 'admin server error'))
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  server.on('upgrade', (request, socket) => {
    if (!connections.asks(socket)) {
      socket.destroy()
      return
    }
    const open = upgraded.get(server) ?? new Set()
    upgraded.set(server, open.add(socket))
    socket.on('close', () => open.delete(socket))
    socket.on('error', () => socket.destroy())
    upgrade(door, request, socket).catch((error: unknown) => {
      options.logger.warn({ err: error }, 'admin stream failed')
      socket.destroy()
    })
  })
  return server
}

/** WebSockets of a server; its end is theirs. */
const upgraded = new WeakMap<Server, Set<Duplex>>()

/** A token that nobody knows. */
const NOBODY: AdminAccess = { token: () => randomUUID(), protectsMetrics: false }

async function upgrade(door: Door, request: IncomingMessage, socket: Duplex): Promise<void> {
  const { backend, peers } = door.options
  const url = URL.parse(request.url ?? '/', 'http://admin')
  const refusal = refuseAsker(door, url, request) ?? refuseOrigin(request)
  if (refusal !== undefined || url === null) {
    refuseUpgrade(socket, refusal ?? errorReply(400, 'Malformed request target'))
    return
  }
  if (isPeerPath(url.pathname)) {
    const target = peerTarget(peers, url, true)
    if ('address' in target) await streamPeer(target, peers?.token() ?? '', request, socket)
    else refuseUpgrade(socket, target)
    return
  }
  const begin = await prepareStream(backend, url)
  if (typeof begin === 'function') await serveStream(begin, request, socket)
  else refuseUpgrade(socket, begin)
}

async function handle(
  door: Door,
  request: IncomingMessage,
  response: ServerResponse,
  whenAnswered: () => void,
): Promise<void> {
  const reply = await decideReply(door, request)
  if ('address' in reply) {
    await askPeer(reply, door.options.peers?.token() ?? '', request, response)
    return
  }
  request.resume()
  const hasLength = reply.status !== 304 && reply.status !== 204
  response.writeHead(reply.status, {
    'content-type': reply.contentType,
    ...(hasLength ? { 'content-length': Buffer.byteLength(reply.body) } : {}),
    'cache-control': 'no-store',
    ...SECURITY_HEADERS,
    ...(reply.status === 405 ? { allow: 'GET, HEAD' } : {}),
    ...reply.headers,
  })
  response.end(request.method === 'HEAD' ? undefined : bytesOf(reply))
  whenAnswered()
}

/** A target: another agent is asked instead. */
async function decideReply(door: Door, request: IncomingMessage): Promise<Reply | PeerTarget> {
  const { options, hosts, gatekeeper } = door
  const { method, headers } = request
  const url = URL.parse(request.url ?? '/', 'http://admin')
  const isPost = method === 'POST' && gatekeeper !== undefined && refuseSite(request) === undefined
  if (isPost && url?.pathname === LOGIN_PATH) {
    return gatekeeper.logIn({ headers, remoteAddress: request.socket.remoteAddress })
  }
  // To an address that is not loopback, over HTTP, a browser names the origin alone.
  if (isPost && url?.pathname === LOGOUT_PATH && refuseOrigin(request) === undefined) return gatekeeper.logOut()
  if (method !== 'GET' && method !== 'HEAD') return errorReply(405, 'Only GET is answered here')
  const refusal = refuseAsker(door, url, request)
  if (refusal !== undefined) return refusal
  if (url === null) return errorReply(400, 'Malformed request target')
  const { pathname } = url
  if (hosts !== 'socket' && ROOT_ONLY.has(pathname)) {
    return errorReply(403, `${pathname} is answered over the admin socket only: weir check, on the node`)
  }
  if (pathname === '/nodes') return listNodes(options.backend.node, options.peers, gatekeeper !== undefined)
  if (isPeerPath(pathname)) return peerTarget(options.peers, url, false)
  const { promise: late, resolve } = Promise.withResolvers<Reply>()
  const timer = setTimeout(
    () => resolve(errorReply(504, `The agent did not answer ${pathname} in time`)),
    options.answerTimeoutMs ?? 5_000,
  )
  try {
    const answer = isPagePath(pathname)
      ? pageReply(pathname, headers['if-none-match'])
      : door.answers(pathname, url.searchParams)
    return await Promise.race([answer, late])
  } catch (error) {
    options.logger.warn({ err: error, path: pathname }, 'admin request failed')
    return errorReply(500, errorLine(error))
  } finally {
    clearTimeout(timer)
  }
}

/** Browsers say which page made them ask. */
function refuseSite({ headers: { 'sec-fetch-site': site } }: IncomingMessage): Reply | undefined {
  const isForeign = site === 'cross-site' || site === 'same-site'
  return isForeign ? errorReply(403, 'This is not for pages of other origins') : undefined
}

/** Why whoever asks gets no answer: by the name they call us, the page that made them ask, or for want of a token. */
function refuseAsker({ hosts, gatekeeper }: Door, url: URL | null, request: IncomingMessage): Reply | undefined {
  const { headers, socket } = request
  if (hosts === 'loopback' && !isAddress(headers.host ?? '')) {
    return errorReply(421, 'Ask by address: this Host name is not ours')
  }
  const foreign = headers['sec-fetch-mode'] === 'navigate' ? undefined : refuseSite(request)
  if (foreign !== undefined) return foreign
  const path = url?.pathname ?? ''
  if (gatekeeper === undefined || isPagePath(path)) return undefined
  return gatekeeper.refuse(path, { headers, remoteAddress: socket.remoteAddress })
}

function isAddress(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return name === 'localhost' || isIP(name) !== 0
}

function hostRule(address: string): HostRule {
  return isLoopback(address) ? 'loopback' : 'any'
}

function disposable(servers: readonly Server[], address: string | undefined): AdminServer {
  return {
    address,
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map(closeServer))
    },
  }
}

async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  for (const socket of upgraded.get(server) ?? []) socket.destroy()
  await closed
}
