/**
 * Streams of the admin API: WebSockets that carry JSON lines. What they tell may hold what only its owners should see: they
 * are answered on the admin socket, on loopback, and elsewhere to who shows the token, and not to pages of other origins.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket, WebSocketServer } from 'ws'
import type { AdminBackend, Reading, ReadingHandlers } from './backend.ts'
import { LOGS } from './log-stream.ts'
import { errorReply, type Reply } from './reply.ts'
import { TAP } from './tap-stream.ts'

export interface AdminStream {
  /** The command that asks it, for those who ask otherwise. */
  readonly verb: string
  /** A reply: why it cannot be opened. */
  prepare(backend: AdminBackend, parameters: URLSearchParams): Begin | Reply | Promise<Begin | Reply>
}

/** Opens what `prepare` found to be right. */
export type Begin = (handlers: ReadingHandlers) => Reading

/** By path. */
export const STREAMS: ReadonlyMap<string, AdminStream> = new Map([
  ['/logs', LOGS],
  ['/tap', TAP],
])

/** Browsers say of which page a WebSocket is, and let any page open one. */
export function refuseOrigin({ headers: { origin, host = '' } }: IncomingMessage): Reply | undefined {
  if (origin === undefined || origin === `http://${host}` || origin === `https://${host}`) return undefined
  return errorReply(403, 'Streams are not for pages of other origins')
}

/** A reply: why not. */
export async function prepareStream(backend: AdminBackend, url: URL): Promise<Begin | Reply> {
  const stream = STREAMS.get(url.pathname)
  if (stream === undefined) return errorReply(404, `No such stream; there are ${[...STREAMS.keys()].join(', ')}`)
  return stream.prepare(backend, url.searchParams)
}

/** Loaded with the first reader. */
let server: Promise<WebSocketServer> | undefined

/** A close code of RFC 6455 for what is the agent's fault or limit; the reason says which. */
const CLOSE_PROBLEM = 1011
const CLOSE_DONE = 1000
/** Of a close reason, RFC 6455, 5.5.1. */
const MAX_REASON_BYTES = 123

export async function serveStream(begin: Begin, request: IncomingMessage, socket: Duplex): Promise<void> {
  server ??= import('ws').then(
    ({ WebSocketServer: Server }) => new Server({ noServer: true, maxPayload: 1024, perMessageDeflate: false }),
  )
  const accepting = await server
  accepting.handleUpgrade(request, socket, Buffer.alloc(0), (webSocket) => serve(begin, webSocket))
}

function serve(begin: Begin, webSocket: WebSocket): void {
  const reading = begin({
    frame: (text) => webSocket.send(text, () => reading.acknowledge()),
    ended: (problem) => {
      if (problem === '') webSocket.close(CLOSE_DONE)
      else {
        // A reason is short: the whole of it comes before.
        webSocket.send(`${JSON.stringify({ kind: 'problem', problem })}\n`)
        webSocket.close(
          CLOSE_PROBLEM,
          Buffer.from(problem)
            .subarray(0, MAX_REASON_BYTES - 3)
            .toString(),
        )
      }
    },
  })
  webSocket.on('close', () => reading.close())
  webSocket.on('error', () => webSocket.terminate())
}

/** An answer to an upgrade that is none. Whoever keeps the other half of the connection open keeps no place here by that. */
export function refuseUpgrade(socket: Duplex, { status, contentType, body }: Reply): void {
  socket.end(
    `HTTP/1.1 ${status} Refused\r\ncontent-type: ${contentType}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `cache-control: no-store\r\nconnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}
