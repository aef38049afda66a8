/** HTTP/2 peers inside the namespaces of pods, in the process of the test: `node:http2` at both ends. */
import { once } from 'node:events'
import http2 from 'node:http2'
import { connectSocketIn, listenSocketIn } from './pod-sockets.ts'

/** A server of `node:http2` on a port of a pod. */
export async function http2ServerIn(
  netnsPath: string,
  port: number,
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders, flags: number) => void,
  settings: http2.Settings = {},
): Promise<Http2PodServer> {
  const server = http2.createServer({ settings })
  const made = new Http2PodServer(server)
  server.on('stream', onStream)
  server.listen({ fd: listenSocketIn(netnsPath, port) })
  await once(server, 'listening')
  return made
}

export class Http2PodServer implements AsyncDisposable {
  readonly server: http2.Http2Server
  /** Those that are open, oldest first. */
  readonly sessions: http2.ServerHttp2Session[] = []
  /** How many there have been. */
  opened = 0
  /** Those that have carried a request. */
  readonly used = new Set<http2.Http2Session | undefined>()

  constructor(server: http2.Http2Server) {
    this.server = server
    server.on('session', (session) => {
      this.opened++
      this.sessions.push(session)
      session.on('error', () => {})
      session.on('close', () => this.sessions.splice(this.sessions.indexOf(session), 1))
    })
    server.on('stream', (stream) => {
      this.used.add(stream.session)
      stream.on('error', () => {})
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of [...this.sessions]) session.destroy()
    this.server.close()
  }
}

/** A client of `node:http2` in a pod. */
export async function http2ClientIn(netnsPath: string, address: string, port: number): Promise<Http2PodClient> {
  const socket = await connectSocketIn(netnsPath, address, port)
  const session = http2.connect(`http://web:${port}`, { createConnection: () => socket })
  session.on('error', () => {})
  await once(session, 'connect')
  return new Http2PodClient(session)
}

export interface Http2Answer {
  readonly status: number
  readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader
  readonly trailers: http2.IncomingHttpHeaders
  readonly body: string
}

export class Http2PodClient implements Disposable {
  readonly session: http2.ClientHttp2Session

  constructor(session: http2.ClientHttp2Session) {
    this.session = session
  }

  request(headers: http2.OutgoingHttpHeaders, options?: http2.ClientSessionRequestOptions): http2.ClientHttp2Stream {
    const stream = this.session.request(headers, options)
    stream.on('error', () => {})
    return stream
  }

  /** The whole answer; fails with the code of a reset. */
  async ask(headers: http2.OutgoingHttpHeaders, body?: string | Buffer): Promise<Http2Answer> {
    const stream = this.request(headers, { endStream: body === undefined })
    if (body !== undefined) stream.end(body)
    return answerOf(stream)
  }

  [Symbol.dispose](): void {
    this.session.destroy()
  }
}

export function answerOf(stream: http2.ClientHttp2Stream): Promise<Http2Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Http2Answer>()
  const chunks: Buffer[] = []
  let head: Http2Answer['headers'] = {}
  let trailers: http2.IncomingHttpHeaders = {}
  stream.on('response', (headers) => {
    head = headers
  })
  stream.on('trailers', (fields) => {
    trailers = fields
  })
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.on('close', () => {
    if (stream.rstCode !== 0) reject(new Error(`Reset with code ${stream.rstCode}`))
    else {
      const body = Buffer.concat(chunks).toString()
      resolve({ status: Number(head[':status']), headers: head, trailers, body })
    }
  })
  return promise
}
