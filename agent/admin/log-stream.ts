/**
 * `/logs` of the admin API: a WebSocket that carries JSON lines. Lines may hold what only their owners should see: they go
 * to the admin socket and to loopback, never to an address that others reach, and not to pages of other origins.
 */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket, WebSocketServer } from 'ws'
import { type LogQuery, parseLogQuery } from '#logs'
import { compileRegex } from '#routing'
import type { LogReading } from './backend.ts'
import { errorReply, type Reply } from './reply.ts'

export const LOGS_PATH = '/logs'

/** What is wrong with a request for logs; undefined when it may be answered. */
export function refuseLogs(request: IncomingMessage, isLocal: boolean, isReadable: boolean): Reply | undefined {
  const { origin, host = '' } = request.headers
  if (!isLocal) {
    return errorReply(
      403,
      `${LOGS_PATH} is answered over the admin socket and on loopback only: weir logs, on the node`,
    )
  }
  if (origin !== undefined && origin !== `http://${host}`)
    return errorReply(403, 'Logs are not for pages of other origins')
  return isReadable ? undefined : errorReply(503, 'This agent reads no logs: start it without --logs off')
}

/** A reply: why the query cannot be answered. */
export function readLogsQuery(parameters: URLSearchParams, nowMs: number): LogQuery | Reply {
  const query = parseLogQuery(parameters, nowMs)
  if (typeof query === 'string') return errorReply(400, query)
  const grep = query.grep === '' ? undefined : compileRegex(`.*(?:${query.grep}).*`)
  return grep === undefined || grep.ok ? query : errorReply(400, `Parameter grep: ${grep.error}`)
}

/** Loaded with the first reader. */
let server: Promise<WebSocketServer> | undefined

/** A close code of RFC 6455 for what is the agent's fault or limit; the reason says which. */
const CLOSE_PROBLEM = 1011
const CLOSE_DONE = 1000
/** Of a close reason, RFC 6455, 5.5.1. */
const MAX_REASON_BYTES = 123

export async function streamLogs(
  logs: LogReading,
  query: LogQuery,
  request: IncomingMessage,
  socket: Duplex,
): Promise<void> {
  server ??= import('ws').then(
    ({ WebSocketServer: Server }) => new Server({ noServer: true, maxPayload: 1024, perMessageDeflate: false }),
  )
  const accepting = await server
  accepting.handleUpgrade(request, socket, Buffer.alloc(0), (webSocket) => serve(logs, query, webSocket))
}

function serve(logs: LogReading, query: LogQuery, webSocket: WebSocket): void {
  const reader = logs.open(query, {
    frame: (text) => webSocket.send(text, () => reader.acknowledge()),
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
  webSocket.on('close', () => reader.close())
  webSocket.on('error', () => webSocket.terminate())
}

/** An answer to an upgrade that is none. */
export function refuseUpgrade(socket: Duplex, { status, contentType, body }: Reply): void {
  socket.end(
    `HTTP/1.1 ${status} Refused\r\ncontent-type: ${contentType}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `cache-control: no-store\r\nconnection: close\r\n\r\n${body}`,
  )
}
