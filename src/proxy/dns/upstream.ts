/**
 * One query to the upstream name servers, through sockets of the pod's own namespace: UDP from a port of its own,
 * or TCP. The first server, then once more the next one. What is no reply to the query is not heard.
 */
import { createSocket, type Socket } from 'node:dgram'
import { isReplyTo, type Query } from '#dns'
import { closeFd } from '#linux'
import { dialHandle } from '../dialer.ts'
import type { Pod } from '../pod.ts'
import { TcpStream } from '../tcp.ts'
import { FrameReader, frameOf } from './frames.ts'

export interface NameServer {
  readonly address: string
  readonly port: number
}

export type Transport = 'udp' | 'tcp'

/** Both tries end before a resolver's usual five seconds. */
const TRY_TIMEOUT_MS = 2_000
const TRIES = 2

/** Ends a try; nothing is told any more. */
type Close = () => void
type Told = (reply: Buffer | undefined) => void

/** `done` gets the reply's bytes, or undefined when there was none; never before the constructor has returned. */
export class UpstreamQuery {
  readonly #pod: Pod
  readonly #servers: readonly NameServer[]
  readonly #query: Query
  readonly #over: Transport
  readonly #done: Told
  #tried = 0
  #close: Close | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(pod: Pod, servers: readonly NameServer[], query: Query, over: Transport, done: Told) {
    this.#pod = pod
    this.#servers = servers
    this.#query = query
    this.#over = over
    this.#done = done
    if (servers.length === 0) queueMicrotask(() => done(undefined))
    else this.#try()
  }

  #try(): void {
    const server = this.#servers[this.#tried % this.#servers.length]
    if (server === undefined) return
    this.#tried++
    let told = false
    const tell = (reply: Buffer | undefined): void => {
      if (told) return
      told = true
      clearTimeout(this.#timer)
      this.#close?.()
      if (reply !== undefined || this.#tried === TRIES) this.#done(reply)
      else this.#try()
    }
    this.#timer = setTimeout(() => tell(undefined), TRY_TIMEOUT_MS)
    const ask = this.#over === 'udp' ? askOverUdp : askOverTcp
    this.#close = ask(this.#pod, server, this.#query, tell)
  }

  /** Nobody waits any more: `done` is not called. */
  cancel(): void {
    this.#tried = TRIES
    clearTimeout(this.#timer)
    this.#close?.()
  }
}

/** Addresses are numbers: there is nothing to look up. */
function numeric(
  hostname: string,
  _options: unknown,
  found: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
): void {
  found(null, hostname, hostname.includes(':') ? 6 : 4)
}

/** A link-local address is told with the interface that it came by. */
function withoutZone(address: string): string {
  return address.replace(/%.*/, '')
}

/** A UDP socket on a descriptor that is bound already. */
export function adoptUdp(fd: number, family: 4 | 6): Socket {
  const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', lookup: numeric })
  socket.bind({ fd })
  return socket
}

function askOverUdp(pod: Pod, { address, port }: NameServer, query: Query, tell: Told): Close {
  const family = address.includes(':') ? 6 : 4
  let socket: Socket | undefined
  let closed = false
  pod.stock.take('datagram', family, (fd) => {
    if (closed) {
      if (fd >= 0) closeFd(fd)
      return
    }
    if (fd < 0) {
      queueMicrotask(() => tell(undefined))
      return
    }
    const mine = adoptUdp(fd, family)
    socket = mine
    mine.on('error', () => tell(undefined))
    // The socket has lain in stock: what came to it from others before it was connected is still there.
    mine.on('message', (bytes, from) => {
      if (from.port === port && withoutZone(from.address) === withoutZone(address) && isReplyTo(query, bytes))
        tell(bytes)
    })
    // Connected, so that only this server is heard from then on, and its refusal is.
    mine.on('connect', () => {
      if (!closed) mine.send(query.bytes, (error) => error !== null && tell(undefined))
    })
    mine.connect(port, address)
  })
  return () => {
    if (closed) return
    closed = true
    socket?.close()
  }
}

function askOverTcp(pod: Pod, server: NameServer, query: Query, tell: Told): Close {
  let stream: TcpStream | undefined
  let closed = false
  dialHandle(
    server,
    { stock: pod.stock, kind: 'plain', localAddress: undefined, count: pod },
    TRY_TIMEOUT_MS,
    (_status, handle) => {
      if (handle === undefined) {
        queueMicrotask(() => tell(undefined))
        return
      }
      const frames = new FrameReader()
      const mine = new TcpStream(handle, {
        onData: (bytes, length) => {
          const reply = frames.read(bytes, length).find((message) => isReplyTo(query, message))
          if (reply !== undefined) tell(reply)
        },
        onEnd: () => tell(undefined),
        onDrain: () => {},
        onClose: () => tell(undefined),
      })
      stream = mine
      if (closed) {
        mine.close()
        return
      }
      mine.resume()
      mine.writeBytes(frameOf(query.bytes))
    },
  )
  return () => {
    if (closed) return
    closed = true
    stream?.close()
  }
}
