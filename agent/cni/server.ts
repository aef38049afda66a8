/**
 * The plugin's door to the agent: a unix socket that only root may open. One line asks, one answers; whatever else
 * arrives gets an error, is counted, and costs a bounded amount of memory and time.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { renameSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { errorLine, startTimer, WeirError } from '#base'
import type { CniDecider } from './decider.ts'
import { type CniReply, type CniRequest, MAX_REQUEST_BYTES, parseRequest, renderLine } from './plugin-side.ts'

export interface CniServerOptions {
  readonly socketPath: string
  readonly decider: CniDecider
  /** Told of every request, also of those that were none (`malformed`). */
  onHandled?(handled: HandledRequest): void
  /** For a whole request line, ms. */
  readonly requestTimeoutMs?: number
}

export interface HandledRequest {
  readonly command: CniRequest['command'] | 'none'
  readonly outcome: CniReply['kind']
  readonly why: string
  /** `namespace/name`; empty for requests that name none. */
  readonly pod: string
  readonly tookMs: number
}

/** A runtime starts pods in parallel; a node holds some 250. */
const MAX_CONNECTIONS = 512
/** unix(7): sun_path holds 108 bytes, one of them a zero. */
const MAX_PATH_BYTES = 107
const REQUEST_TIMEOUT_MS = 5_000

export interface CniServer extends AsyncDisposable {
  /** Takes nothing new; who was asking gets an answer, or after `graceMs` none. The plugin asks again where nobody listens. */
  close(graceMs: number): Promise<void>
}

/** Takes the place of a server that listens there already. @throws WeirError */
export async function startCniServer(options: CniServerOptions): Promise<CniServer> {
  const { socketPath } = options
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    serve(socket, options)
  })
  server.maxConnections = MAX_CONNECTIONS
  const inode = await listen(server, socketPath)
  const close = async (graceMs: number): Promise<void> => {
    if (!server.listening) return
    if (inodeOf(socketPath) === inode) rmSync(socketPath, { force: true })
    // Who has connected by now, and waits in the queue, is taken in by the loop's next turns.
    if (graceMs > 0) for (let turn = 0; turn < 2; turn++) await setImmediate()
    const closed = once(server, 'close')
    server.close()
    using _ = startTimer(graceMs, () => {
      for (const socket of sockets) socket.destroy()
    })
    await closed
  }
  return { close, [Symbol.asyncDispose]: () => close(0) }
}

async function listen(server: Server, path: string): Promise<bigint | undefined> {
  const temporary = join(dirname(path), `.cni-${randomBytes(4).toString('hex')}`)
  if (Math.max(Buffer.byteLength(path), Buffer.byteLength(temporary)) > MAX_PATH_BYTES) {
    throw listenError(
      path,
      `the path is longer than ${MAX_PATH_BYTES} bytes; choose a shorter --state-dir or --cni-socket`,
    )
  }
  rmSync(temporary, { force: true })
  try {
    const listening = once(server, 'listening')
    // The socket is made inside listen(), so that nobody can connect before its mode is right.
    const before = process.umask(0o177)
    server.listen({ path: temporary, backlog: 128 })
    process.umask(before)
    await listening
    renameSync(temporary, path)
    return inodeOf(path)
  } catch (thrown) {
    server.close()
    throw listenError(path, errorLine(thrown))
  }
}

function listenError(path: string, why: string): WeirError {
  return new WeirError('WEIR_CNI_LISTEN', `Listen for the CNI plugin on ${path}: ${why}`)
}

function inodeOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
}

function serve(socket: Socket, options: CniServerOptions): void {
  let received = ''
  const timeout = setTimeout(
    () => refuse('no whole request arrived in time'),
    options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
  )
  const stopReading = () => {
    received = ''
    clearTimeout(timeout)
    socket.removeListener('data', take)
    socket.resume()
  }
  const refuse = (why: string) => {
    stopReading()
    options.onHandled?.({ command: 'none', outcome: 'malformed', why, pod: '', tookMs: 0 })
    socket.end(renderLine({ kind: 'malformed', why }))
  }
  const take = (chunk: string) => {
    received += chunk
    const end = received.indexOf('\n')
    if ((end === -1 ? received.length : end) > MAX_REQUEST_BYTES)
      return refuse(`longer than ${MAX_REQUEST_BYTES} bytes`)
    if (end === -1) return
    const parsed = parseRequest(received.slice(0, end))
    if (parsed.kind === 'malformed') return refuse(parsed.why)
    stopReading()
    void answer(parsed.request, socket, options)
  }
  socket.setEncoding('utf8')
  socket.on('error', () => undefined)
  socket.on('close', () => clearTimeout(timeout))
  socket.on('end', () => {
    if (received !== '') refuse('the line has no end')
  })
  socket.on('data', take)
}

async function answer(request: CniRequest, socket: Socket, options: CniServerOptions): Promise<void> {
  const startedAt = performance.now()
  const reply = await decide(request, socket, options.decider)
  const { command } = request
  const pod = 'attachment' in request && 'pod' in request.attachment ? request.attachment.pod : undefined
  options.onHandled?.({
    command,
    outcome: reply.kind,
    why: 'why' in reply ? reply.why : '',
    pod: pod === undefined ? '' : `${pod.namespace}/${pod.name}`,
    tookMs: Math.round(performance.now() - startedAt),
  })
  socket.end(renderLine(reply))
}

async function decide(request: CniRequest, socket: Socket, decider: CniDecider): Promise<CniReply> {
  switch (request.command) {
    case 'ADD':
      return await decider.add(request.attachment, () => socket.write(renderLine({ kind: 'opted-in' })))
    case 'CHECK':
      return await decider.check(request.attachment)
    case 'DEL':
      decider.end(request.attachment)
      return { kind: 'done' }
    case 'GC':
      decider.collect(request.network, request.valid)
      return { kind: 'done' }
    default:
      return { kind: 'done' }
  }
}
