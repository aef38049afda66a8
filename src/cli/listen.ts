/** Streams of the agent, over its admin socket: WebSockets whose messages are JSON lines. */
import { join } from 'node:path'
import { errorLine } from '#base'
import { unreachableLine } from './ask.ts'

export type Listened =
  /** The agent had no more to tell, or nobody reads any more. */
  | { readonly kind: 'ended' }
  /** It would not answer; `text` is what it said. */
  | { readonly kind: 'refused'; readonly status: number; readonly text: string }
  | { readonly kind: 'broken'; readonly line: string }
  | { readonly kind: 'unreachable'; readonly line: string }

/** Tells each message; no further one comes before it has resolved. False: that was enough. */
export type Listen = (path: string, tell: (message: string) => Promise<boolean>) => Promise<Listened>

export function createListen(stateDir: string): Listen {
  const socketPath = join(stateDir, 'admin.sock')
  return (path, tell) => listenSocket(socketPath, path, tell)
}

const MAX_REFUSAL_BYTES = 64 << 10
const MAX_MESSAGE_BYTES = 16 << 20
const DONE = 1000

async function listenSocket(
  socketPath: string,
  path: string,
  tell: (message: string) => Promise<boolean>,
): Promise<Listened> {
  const { WebSocket } = await import('ws')
  const { promise, resolve } = Promise.withResolvers<Listened>()
  const socket = new WebSocket(`ws+unix:${socketPath}:${path}`, {
    handshakeTimeout: 10_000,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
  })
  let isOpen = false
  let told: Promise<unknown> = Promise.resolve()
  socket.on('open', () => {
    isOpen = true
  })
  socket.on('message', (data, isBinary) => {
    // The agent holds back what is not read.
    socket.pause()
    told = tell(isBinary ? '' : String(data)).then((more) => {
      if (!more) resolve({ kind: 'ended' })
      if (more) socket.resume()
      else socket.terminate()
    })
  })
  socket.on('unexpected-response', (_request, response) => {
    const chunks: Buffer[] = []
    let bytes = 0
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= MAX_REFUSAL_BYTES) chunks.push(chunk)
    })
    response.on('end', () => {
      resolve({ kind: 'refused', status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() })
    })
  })
  socket.on('error', (error) => {
    if (!isOpen) resolve({ kind: 'unreachable', line: unreachableLine(socketPath, error) })
    else resolve({ kind: 'broken', line: `The agent's answer broke off: ${errorLine(error)}` })
  })
  socket.on('close', (code) => {
    const last = code === DONE || code === 1011 ? told : Promise.resolve()
    void last.then(() =>
      resolve(
        code === DONE || code === 1011
          ? { kind: 'ended' }
          : { kind: 'broken', line: 'The agent ended the answer; ask again when it is back' },
      ),
    )
  })
  return promise
}
