/** Carries the bytes of an HTTP/2 session over a TLS connection. */
import type { TLSSocket } from 'node:tls'
import type { Http2Session, Http2Transport } from '#http'
import { readTls } from './tls-reader.ts'

export class TlsTransport implements Http2Transport {
  readonly #socket: TLSSocket
  #written: () => void = () => undefined

  constructor(socket: TLSSocket) {
    this.#socket = socket
  }

  /** From now on what arrives is the session's. */
  attach(session: Http2Session): void {
    const socket = this.#socket
    this.#written = () => session.drained()
    socket.on('error', () => undefined)
    socket.on('close', () => session.transportClosed())
    readTls(
      socket,
      (bytes, length) => session.receive(bytes, length),
      // The peer ends a session by GOAWAY; a connection half closed is of no use to it.
      () => socket.destroy(),
    )
  }

  /** With no earlier write under way the bytes are encrypted at once; otherwise they wait as they are. */
  write(bytes: Buffer): boolean {
    const socket = this.#socket
    if (socket.writableLength === 0) {
      socket.write(bytes)
      return true
    }
    socket.write(bytes, this.#written)
    return false
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** After all that this turn of the event loop reads: many frames, one TLS record. */
  schedule(flush: () => void): void {
    setImmediate(flush)
  }
}
