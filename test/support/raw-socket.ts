/**
 * Raw TCP inside network namespaces, from this very process: clients and servers that send and see exact
 * bytes. A socket belongs to the namespace it was opened in, so it is opened there and used from here.
 */
import { once } from 'node:events'
import net from 'node:net'
import { connectSocketIn, listenSocketIn } from './pod-sockets.ts'

/** Failing here is better than a test that hangs. */
const PATIENCE_MS = 20_000

export interface RawMessage {
  /** Request or status line. */
  readonly start: string
  /** Lines as sent, without CRLF. */
  readonly lines: readonly string[]
  /** Decoded: chunk framing is taken off. */
  readonly body: Buffer
  readonly trailers: readonly string[]
  /** Value of the only line of that name; undefined when there is none, fails when there are more. */
  header(lowerCaseName: string): string | undefined
}

function headerOf(lines: readonly string[], name: string): string | undefined {
  const found = lines.filter((line) => line.slice(0, line.indexOf(':')).toLowerCase() === name)
  if (found.length > 1) throw new Error(`More than one ${name}: ${found.join(' | ')}`)
  return found[0]?.slice(found[0].indexOf(':') + 1).trim()
}

/** One end of a connection. What arrives is kept until it is asked for, unless `hold` is called. */
export class RawSocket implements Disposable {
  readonly socket: net.Socket
  /** How the peer ended: `open` until it has. */
  ending: 'open' | 'end' | 'reset' = 'open'
  /** Bytes received in all. */
  received = 0
  #chunks: Buffer[] = []
  #wake = Promise.withResolvers<void>()

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length
      this.#chunks.push(chunk)
      this.#notify()
    })
    socket.on('end', () => this.#end('end'))
    socket.on('error', () => this.#end('reset'))
    socket.on('close', () => this.#end('end'))
  }

  #end(how: 'end' | 'reset'): void {
    if (this.ending === 'open' || how === 'reset') this.ending = how
    this.#notify()
  }

  #notify(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }

  /** Resolves when the kernel has taken it all. */
  send(data: string | Buffer): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()))
  }

  /** FIN; receiving goes on. */
  end(): void {
    this.socket.end()
  }

  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** Stops reading, so that the kernel's buffers fill. */
  hold(): void {
    this.socket.pause()
  }

  unhold(): void {
    this.socket.resume()
  }

  /** Everything received and not yet taken. */
  peek(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0] ?? Buffer.alloc(0)
  }

  #take(count: number): Buffer {
    const all = this.peek()
    const rest = all.subarray(count)
    this.#chunks = rest.length > 0 ? [rest] : []
    return all.subarray(0, count)
  }

  /** Asks `probe` after every event until it answers. */
  async wait<T>(what: string, probe: () => T | undefined): Promise<T> {
    const { promise: expiry, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(new Error(`Waited in vain for ${what}; ${this.#state()}`)), PATIENCE_MS)
    try {
      for (;;) {
        const value = probe()
        if (value !== undefined) return value
        await Promise.race([this.#wake.promise, expiry])
      }
    } finally {
      clearTimeout(timer)
    }
  }

  #state(): string {
    return `${this.ending}, received ${JSON.stringify(this.peek().subarray(0, 500).toString('latin1'))}`
  }

  #open(what: string): void {
    if (this.ending !== 'open') throw new Error(`The connection ended before ${what}: ${this.#state()}`)
  }

  /** Takes everything up to and including `text`. */
  until(text: string): Promise<string> {
    return this.wait(JSON.stringify(text), () => {
      const at = this.peek().indexOf(text, 0, 'latin1')
      if (at >= 0) return this.#take(at + Buffer.byteLength(text, 'latin1')).toString('latin1')
      this.#open(text)
      return undefined
    })
  }

  bytes(count: number): Promise<Buffer> {
    // Joining the pieces again for every packet would cost their square.
    return this.wait(`${count} bytes`, () => {
      const have = this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      if (have >= count) return this.#take(count)
      this.#open(`${count} bytes`)
      return undefined
    })
  }

  /** How the connection ends, after which nothing is received any more. */
  ended(): Promise<'end' | 'reset'> {
    return this.wait('the end', () => (this.ending === 'open' ? undefined : this.ending))
  }

  /** Everything until the peer ends. */
  async rest(): Promise<Buffer> {
    await this.ended()
    return this.#take(this.peek().length)
  }

  /** The next HTTP message. `bodyless`: an answer to HEAD. Without framing a response lasts to the end. */
  async message(bodyless = false): Promise<RawMessage> {
    const [start = '', ...lines] = (await this.until('\r\n\r\n')).slice(0, -4).split('\r\n')
    const header = (name: string) => headerOf(lines, name)
    const response = start.startsWith('HTTP/')
    const length = header('content-length')
    const trailers: string[] = []
    let body = Buffer.alloc(0)
    if (bodyless || /^HTTP\/1\.. (?:1..|204|304)/.test(start)) return { start, lines, body, trailers, header }
    if (header('transfer-encoding') === 'chunked') {
      const pieces: Buffer[] = []
      for (;;) {
        const size = Number.parseInt(await this.until('\r\n'), 16)
        if (size === 0) break
        pieces.push(await this.bytes(size))
        if ((await this.until('\r\n')) !== '\r\n') throw new Error('A chunk is longer than its size')
      }
      for (let line = await this.until('\r\n'); line !== '\r\n'; line = await this.until('\r\n')) {
        trailers.push(line.slice(0, -2))
      }
      body = Buffer.concat(pieces)
    } else if (length !== undefined) body = Buffer.from(await this.bytes(Number(length)))
    else if (response) body = Buffer.from(await this.rest())
    return { start, lines, body, trailers, header }
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }
}

/** Connects from inside the namespace; resolves when established, rejects when refused. */
export async function connectIn(netnsPath: string, address: string, port: number): Promise<RawSocket> {
  const socket = await connectSocketIn(netnsPath, address, port)
  socket.setNoDelay(true)
  return new RawSocket(socket)
}

/** A server in a namespace that hands every connection to `serve`, and keeps them all. */
export class RawServer implements AsyncDisposable {
  readonly connections: RawSocket[] = []
  /**
   * Those that have received anything, in that order. For a client that is slow to speak the mesh opens a connection ahead, in
   * case the server speaks first: whether that one is used depends on how busy the machine is.
   */
  readonly used: RawSocket[] = []
  /** What `serve` failed with, unless its connection ended unused. */
  readonly failures: unknown[] = []
  serve: (connection: RawSocket) => unknown
  readonly #server: net.Server
  /** The next connection that receives its first bytes. */
  #first = Promise.withResolvers<void>()

  constructor(server: net.Server, serve: (connection: RawSocket) => unknown) {
    this.#server = server
    this.serve = serve
    server.on('connection', (socket) => {
      socket.setNoDelay(true)
      const connection = new RawSocket(socket)
      this.connections.push(connection)
      socket.once('data', () => {
        this.used.push(connection)
        this.#first.resolve()
        this.#first = Promise.withResolvers()
      })
      Promise.resolve(this.serve(connection)).catch((thrown: unknown) => {
        if (connection.received > 0 || connection.ending === 'open') this.failures.push(thrown)
      })
    })
  }

  /** The connection of that number, counted from 0. */
  async connection(index: number): Promise<RawSocket> {
    while (this.connections.length <= index) {
      await once(this.#server, 'connection', { signal: AbortSignal.timeout(PATIENCE_MS) })
    }
    return this.connections[index] as RawSocket
  }

  /** Of `used`, the one of that number, counted from 0. */
  async usedConnection(index: number): Promise<RawSocket> {
    const { promise: expiry, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(new Error(`Waited in vain for connection ${index} to be used`)), PATIENCE_MS)
    try {
      while (this.used.length <= index) await Promise.race([this.#first.promise, expiry])
    } finally {
      clearTimeout(timer)
    }
    return this.used[index] as RawSocket
  }

  /** Forgets and closes all connections so far, and serves the next ones so. */
  restart(serve: (connection: RawSocket) => unknown): void {
    for (const connection of this.connections.splice(0)) connection[Symbol.dispose]()
    this.used.length = 0
    this.failures.length = 0
    this.serve = serve
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.connections) connection[Symbol.dispose]()
    this.#server.close()
  }
}

/** Listens inside the namespace, on both families. */
export async function listenIn(
  netnsPath: string,
  port: number,
  serve: (connection: RawSocket) => unknown = () => {},
): Promise<RawServer> {
  const fd = listenSocketIn(netnsPath, port)
  const server = net.createServer({ allowHalfOpen: true })
  const raw = new RawServer(server, serve)
  server.listen({ fd })
  await once(server, 'listening')
  return raw
}
