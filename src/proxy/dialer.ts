/** How a new connection to a destination is made. */
import type { SocketKind } from '#contract'
import type { ByteStream } from '#http'
import type { SocketStock } from './sockets.ts'
import { connectTcp, NOBODY, TcpStream } from './tcp.ts'

/** Called with a stream whose owner is still to be set, or undefined, a negative libuv error and perhaps more words. */
export type Dialled = (status: number, stream: ByteStream | undefined, error: string) => void

export interface Dialer {
  dial(done: Dialled): void
}

export interface TcpSource {
  readonly stock: SocketStock
  readonly kind: SocketKind
  /** Bound before connecting: the client's own address, for transparent sockets. */
  readonly localAddress: string | undefined
}

/** Straight to the destination, through a socket of the broker. */
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
    const { address, port } = this.#target
    const { stock, kind, localAddress } = this.#source
    let settled = false
    const timer = setTimeout(() => {
      settled = true
      done(UV_ETIMEDOUT, undefined, 'connect timed out')
    }, this.#timeoutMs)
    stock.take(kind, address.includes(':') ? 6 : 4, (fd, error) => {
      if (fd < 0) {
        if (settled) return
        clearTimeout(timer)
        done(UV_ECONNREFUSED, undefined, error)
        return
      }
      connectTcp(fd, { address, port, localAddress }, (status, handle) => {
        if (settled) {
          // The timeout won: nobody waits for this connection any more.
          if (handle !== undefined) new TcpStream(handle, NOBODY).close()
          return
        }
        clearTimeout(timer)
        done(status, handle === undefined ? undefined : new TcpStream(handle, NOBODY), '')
      })
    })
  }
}

const UV_ETIMEDOUT = -110
const UV_ECONNREFUSED = -111
