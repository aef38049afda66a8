/** How a new connection to a destination is made. */
import type { SocketKind } from '#contract'
import type { ByteStream } from '#http'
import { closeFd } from '#linux'
import { CHECK_HEADER, type TunnelDestination, type TunnelPool } from '#tunnel'
import type { SocketStock } from './sockets.ts'
import { connectTcp, NOBODY, TcpStream } from './tcp.ts'
import { newTraceparent } from './trace-context.ts'

/** Called with a stream whose owner is still to be set, or undefined, a negative libuv error and perhaps more words. */
export type Dialled = (status: number, stream: ByteStream | undefined, error: string) => void

export interface Dialer {
  /** @param onlyConnects whoever is in between need only find out whether the application takes a connection */
  dial(done: Dialled, onlyConnects?: boolean): void
}

export interface TcpSource {
  readonly stock: SocketStock
  readonly kind: SocketKind
  /** Bound before connecting: the client's own address, for transparent sockets. */
  readonly localAddress: string | undefined
  /** Of the pod on whose behalf. */
  readonly count: DialCount
}

/** Connections of one pod that are being opened. */
export interface DialCount {
  dialling: number
}

/** A pod whose destinations do not answer holds no more sockets than this, whatever its clients do. */
const MAX_DIALLING = 2048

/** A bare connection through a socket of the broker, as a handle of libuv. Nothing is left of one that fails. */
export function dialHandle(
  { address, port }: { readonly address: string; readonly port: number },
  { stock, kind, localAddress, count }: TcpSource,
  timeoutMs: number,
  done: (status: number, handle: object | undefined, error: string) => void,
): void {
  if (count.dialling >= MAX_DIALLING) {
    queueMicrotask(() => done(UV_EMFILE, undefined, `the pod is opening ${MAX_DIALLING} connections already`))
    return
  }
  count.dialling++
  let giveUp = (): void => {}
  let settled = false
  const settle = (status: number, handle: object | undefined, error: string): void => {
    if (settled) return
    settled = true
    count.dialling--
    clearTimeout(timer)
    done(status, handle, error)
  }
  const timer = setTimeout(() => {
    settle(UV_ETIMEDOUT, undefined, 'connect timed out')
    giveUp()
  }, timeoutMs)
  stock.take(kind, address.includes(':') ? 6 : 4, (fd, error) => {
    if (settled) {
      // Nobody waits for this connection any more.
      if (fd >= 0) closeFd(fd)
    } else if (fd < 0) settle(UV_ECONNREFUSED, undefined, error)
    else {
      giveUp = connectTcp(fd, { address, port, localAddress }, (status, handle) => settle(status, handle, ''))
    }
  })
}

/** Straight to the destination. */
export class TcpDialer implements Dialer {
  readonly #target: { readonly address: string; readonly port: number }
  readonly #source: TcpSource
  readonly #timeoutMs: number

  constructor(target: { readonly address: string; readonly port: number }, source: TcpSource, timeoutMs: number) {
    this.#target = target
    this.#source = source
    this.#timeoutMs = timeoutMs
  }

  dial(done: Dialled): void {
    dialHandle(this.#target, this.#source, this.#timeoutMs, (status, handle, error) =>
      done(status, handle === undefined ? undefined : new TcpStream(handle, NOBODY), error),
    )
  }
}

/** To a host outside, by the addresses that its name has when it is dialled: one after the other, until one takes it. */
export class NamedDialer implements Dialer {
  readonly #target: { readonly address: string; readonly port: number }
  readonly #resolve: (done: (addresses: readonly string[]) => void) => void
  readonly #source: TcpSource
  readonly #timeoutMs: number

  constructor(
    target: { readonly address: string; readonly port: number },
    resolve: (done: (addresses: readonly string[]) => void) => void,
    source: TcpSource,
    timeoutMs: number,
  ) {
    this.#target = target
    this.#resolve = resolve
    this.#source = source
    this.#timeoutMs = timeoutMs
  }

  dial(done: Dialled): void {
    this.#resolve((addresses) => {
      if (addresses.length === 0) {
        queueMicrotask(() =>
          done(UV_ECONNREFUSED, undefined, `no address of ${this.#target.address} outside the mesh is known`),
        )
      } else this.#try(addresses.slice(0, MAX_ADDRESSES_TRIED), 0, done)
    })
  }

  #try(addresses: readonly string[], index: number, done: Dialled): void {
    const target = { address: addresses[index] ?? '', port: this.#target.port }
    new TcpDialer(target, this.#source, this.#timeoutMs).dial((status, stream, error) => {
      if (stream === undefined && index + 1 < addresses.length) this.#try(addresses, index + 1, done)
      else done(status, stream, error)
    })
  }
}

const MAX_ADDRESSES_TRIED = 3

/** Through the tunnel to the destination pod: never beside it. */
export class TunnelDialer implements Dialer {
  readonly #pool: TunnelPool
  readonly #destination: TunnelDestination
  readonly #headers: readonly string[]

  /** @param headers of the CONNECT, without the trace */
  constructor(pool: TunnelPool, destination: TunnelDestination, headers: readonly string[]) {
    this.#pool = pool
    this.#destination = destination
    this.#headers = headers
  }

  dial(done: Dialled, onlyConnects = false): void {
    const check = onlyConnects ? [CHECK_HEADER, 'connect'] : []
    this.#pool.open(this.#destination, [...this.#headers, 'traceparent', newTraceparent(), ...check], done)
  }
}

const UV_ETIMEDOUT = -110
const UV_ECONNREFUSED = -111
const UV_EMFILE = -24
