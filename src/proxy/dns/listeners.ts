/** Where queries of a pod arrive: its UDP socket, and connections to its TCP listener. */
import type { Socket } from 'node:dgram'
import type { StreamOwner } from '#http'
import type { HeldConnection, Pod } from '../pod.ts'
import { TcpStream } from '../tcp.ts'
import type { Answerer } from './answerer.ts'
import { FrameReader, frameOf } from './frames.ts'
import { adoptUdp } from './upstream.ts'

/** A connection without a query is closed after this, and one whose client does not take its answers. */
const IDLE_MS = 10_000
/** Queries of one connection that may be open at a time. */
const MAX_OPEN = 16

/** The socket is closed with the value. */
export class UdpQueries {
  readonly #socket: Socket
  #closed = false

  constructor(answerer: Answerer, pod: Pod, fd: number, family: 4 | 6) {
    this.#socket = adoptUdp(fd, family)
    // An error of one datagram, e.g. its sender is gone, is no reason to stop.
    this.#socket.on('error', () => {})
    this.#socket.on('message', (bytes, { address, port }) => {
      answerer.take(pod, bytes, 'udp', (reply) => {
        if (!this.#closed) this.#socket.send(reply, port, address, () => {})
      })
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#socket.close()
  }
}

export class TcpQueries implements HeldConnection, StreamOwner {
  readonly #answerer: Answerer
  readonly #pod: Pod
  readonly #stream: TcpStream
  readonly #frames = new FrameReader()
  readonly #closed: () => void
  readonly #backlog: Buffer[] = []
  #open = 0
  #ended = false
  #deadline: number

  /** @param now ms of performance.now; `closed` is called once, when the connection has ended */
  constructor(answerer: Answerer, pod: Pod, handle: object, now: number, closed: () => void) {
    this.#answerer = answerer
    this.#pod = pod
    this.#closed = closed
    this.#deadline = now + IDLE_MS
    this.#stream = new TcpStream(handle, this)
    pod.connections.add(this)
    this.#stream.resume()
  }

  onData(buffer: Buffer, length: number): void {
    this.#backlog.push(...this.#frames.read(buffer, length))
    this.#work()
  }

  #work(): void {
    while (this.#open < MAX_OPEN && this.#stream.pendingWrites === 0 && !this.#stream.closed) {
      const message = this.#backlog.shift()
      if (message === undefined) break
      this.#open++
      const heard = this.#answerer.take(this.#pod, message, 'tcp', (reply) => this.#answered(reply))
      if (!heard) {
        this.#stream.reset()
        return
      }
    }
    if (this.#stream.closed) return
    if (this.#backlog.length > 0) this.#stream.pause()
    else if (this.#ended) this.#endWhenDone()
    else this.#stream.resume()
  }

  #answered(reply: Buffer): void {
    this.#open--
    if (this.#stream.closed) return
    this.#deadline = performance.now() + IDLE_MS
    this.#stream.writeBytes(frameOf(reply))
    // What was answered at once is answered from within #work.
    if (this.#backlog.length > 0) queueMicrotask(() => this.#work())
    else if (this.#ended) this.#endWhenDone()
  }

  #endWhenDone(): void {
    if (this.#open === 0 && this.#backlog.length === 0) this.#stream.end()
  }

  onEnd(): void {
    this.#ended = true
    this.#endWhenDone()
  }

  onDrain(): void {
    this.#work()
  }

  onClose(): void {
    this.#pod.connections.delete(this)
    this.#closed()
  }

  sweep(now: number): void {
    if (now >= this.#deadline) this.#stream.reset()
  }

  /** Names are no secret of any policy. */
  rejudge(): void {}

  drain(): void {
    this.#ended = true
    this.#endWhenDone()
  }

  abort(): void {
    this.#stream.reset()
  }
}
