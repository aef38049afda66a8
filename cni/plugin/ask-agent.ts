/** One question to the agent over its unix socket, with an end to every wait. */
import { connect } from 'node:net'
import { type CniReply, type CniRequest, MAX_REPLY_BYTES, parseReply, renderLine } from '../protocol.ts'

export interface AskLimits {
  /** To the first line of the agent, ms. */
  readonly firstLineMs: number
  /** To the last, ms. */
  readonly totalMs: number
}

export type Asked =
  | { readonly kind: 'reply'; readonly reply: CniReply }
  /** `refused`: nobody listens, so that asking again in a moment makes sense. */
  | { readonly kind: 'away'; readonly why: string; readonly refused: boolean; readonly saidOptedIn: boolean }

/** Never fails: what goes wrong is an answer. */
export function askAgent(socketPath: string, request: CniRequest, limits: AskLimits): Promise<Asked> {
  const { promise, resolve } = Promise.withResolvers<Asked>()
  let saidOptedIn = false
  let received = ''
  const socket = connect({ path: socketPath })
  const finish = (asked: Asked) => {
    clearTimeout(firstLine)
    clearTimeout(total)
    socket.destroy()
    resolve(asked)
  }
  const away = (why: string, refused = false) => finish({ kind: 'away', why, refused, saidOptedIn })
  const seconds = (ms: number) => `gave no answer within ${ms / 1000} s`
  const firstLine = setTimeout(() => away(seconds(limits.firstLineMs)), limits.firstLineMs)
  const total = setTimeout(() => away(seconds(limits.totalMs)), limits.totalMs)
  socket.setEncoding('utf8')
  socket.on('connect', () => socket.write(renderLine(request)))
  socket.on('error', (error: NodeJS.ErrnoException) => {
    const code = error.code ?? error.message
    away(`does not answer (${code})`, code === 'ENOENT' || code === 'ECONNREFUSED')
  })
  socket.on('close', () => away('closed the connection without an answer'))
  socket.on('data', (chunk: string) => {
    received += chunk
    if (received.length > MAX_REPLY_BYTES) return away('gave an answer that is too long')
    for (let end = received.indexOf('\n'); end !== -1; end = received.indexOf('\n')) {
      const reply = parseReply(received.slice(0, end))
      received = received.slice(end + 1)
      clearTimeout(firstLine)
      if (reply === undefined)
        return away('gave an answer that is not understood; see that plugin and agent are of one version')
      if (reply.kind !== 'opted-in') return finish({ kind: 'reply', reply })
      saidOptedIn = true
    }
  })
  return promise
}
