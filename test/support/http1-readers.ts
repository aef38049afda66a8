/** How others read HTTP/1.1: Node's own server, and HAProxy before another such server; both behind Unix sockets. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'

export interface ReadMessage {
  readonly method: string
  readonly target: string
  /** `name: value`, names in lower case, in the order they came. */
  readonly fields: readonly string[]
  readonly body: string
  readonly trailers: readonly string[]
}

export interface Http1Reader extends AsyncDisposable {
  readonly name: string
  /** Sends the bytes on a connection of its own; what was read once the server has answered, closed or ended. */
  read(wire: string, last: string): Promise<readonly ReadMessage[]>
}

const QUIET_MS = 3000

function pairs(raw: readonly string[]): string[] {
  const lines: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) lines.push(`${raw[i]?.toLowerCase()}: ${raw[i + 1]}`)
  return lines
}

/** `begun` is called as a head comes, what it gives when the message is whole. */
async function serve(path: string, begun: () => (message: ReadMessage) => void): Promise<Server> {
  const answer = async (request: IncomingMessage, respond: () => void): Promise<void> => {
    const seen = begun()
    const body = (await buffer(request)).toString('latin1')
    const { method = '', url = '', rawHeaders, rawTrailers } = request
    seen({ method, target: url, fields: pairs(rawHeaders), body, trailers: pairs(rawTrailers) })
    respond()
  }
  const server = createServer({ insecureHTTPParser: false, requireHostHeader: true, keepAliveTimeout: 60_000 })
  const onRequest: Parameters<Server['on']>[1] = (request: IncomingMessage, response: { end(): void }) => {
    // A body that breaks off ends the connection: nothing was read.
    answer(request, () => response.end()).catch(() => undefined)
  }
  for (const event of ['request', 'checkContinue', 'checkExpectation']) server.on(event, onRequest)
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return server
}

/** Ends when the connection ends, or when `isDone` says that all has been read. */
function converse(path: string, wire: string, whenDone: (done: () => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // It may refuse before it has read everything.
      if (error.code === 'EPIPE' || error.code === 'ECONNRESET') resolve()
      else reject(error)
    })
    socket.on('close', () => resolve())
    // A server that waits for more than there is has read something else.
    socket.setTimeout(QUIET_MS, () => socket.destroy())
    socket.resume()
    whenDone(() => socket.destroy())
    socket.write(wire, 'latin1')
  })
}

class Reader implements Http1Reader {
  readonly name: string
  readonly #path: string
  readonly #close: () => Promise<void>
  /** In the order of their heads; undefined while a body is still to come. */
  #seen: (ReadMessage | undefined)[] = []
  #last = ''
  #done: () => void = () => undefined

  constructor(name: string, path: string, close: () => Promise<void>) {
    this.name = name
    this.#path = path
    this.#close = close
  }

  begun(): (message: ReadMessage) => void {
    const seen = this.#seen
    const at = seen.push(undefined) - 1
    return (message) => {
      seen[at] = message
      const last = seen.at(-1)
      if (seen === this.#seen && last?.target === this.#last && !seen.includes(undefined)) this.#done()
    }
  }

  /** One at a time. */
  async read(wire: string, last: string): Promise<readonly ReadMessage[]> {
    this.#seen = []
    this.#last = last
    await converse(this.#path, wire, (done) => {
      this.#done = done
    })
    return this.#seen.filter((message) => message !== undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }
}

function closing(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(() => resolve()))
}

export async function openNodeReader(): Promise<Http1Reader> {
  const directory = mkdtempSync(join(tmpdir(), 'weir-node-'))
  const path = join(directory, 'server.sock')
  const server = await serve(path, () => reader.begun())
  const reader: Reader = new Reader('node:http', path, async () => {
    await closing(server)
    rmSync(directory, { recursive: true })
  })
  return reader
}

export async function openHaproxyReader(): Promise<Http1Reader> {
  const directory = mkdtempSync(join(tmpdir(), 'weir-haproxy-'))
  const [front, back, config] = ['front.sock', 'back.sock', 'haproxy.cfg'].map((name) => join(directory, name))
  if (front === undefined || back === undefined || config === undefined) throw new Error('No paths')
  const server = await serve(back, () => reader.begun())
  const text = `global
  maxconn 64
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend front
  bind unix@${front}
  default_backend back
backend back
  server node unix@${back}
`
  writeFileSync(config, text)
  const { NODE_OPTIONS: _, ...env } = process.env
  const haproxy = spawn('haproxy', ['-f', config, '-db', '-q'], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  const exited = new Promise<void>((resolve) => haproxy.once('exit', () => resolve()))
  const reader: Reader = new Reader('HAProxy', front, async () => {
    haproxy.kill('SIGKILL')
    await exited
    await closing(server)
    rmSync(directory, { recursive: true })
  })
  await reachable(front)
  return reader
}

async function reachable(path: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    const failure = await new Promise<Error | undefined>((resolve) => {
      const socket = connect(path, () => {
        socket.destroy()
        resolve(undefined)
      })
      socket.on('error', resolve)
    })
    if (failure === undefined) return
    if (tries > 500) throw failure
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
