/** What an exchange of HTTP/1.1 needs of the connection that its client has made. */
import type { ByteStream, Head } from '#http'

export interface ClientConnection {
  readonly stream: ByteStream
  /** Of the present request. */
  readonly head: Head
  /** It shall end: an answer that is yet to begin says so. */
  readonly isDraining: boolean
  /** The client has ended its side. */
  readonly hasEnded: boolean
  /** What is awaited of the client has so long from now: then the exchange is `overdue`. */
  within(ms: number): void
  /** Nothing is awaited of it. */
  untimed(): void
  /** Keeps what is not wanted yet, and stops reading. */
  hold(bytes: Buffer, start: number, end: number): void
  /** What is held, which then is not any more. */
  takeHeld(): Buffer | undefined
  readonly holdsNothing: boolean
  /** The exchange is over and its answer on the way: the next one may begin. */
  next(): void
  /** It is over, and so is the connection, whatever the client still sends. */
  linger(): void
  /** It is over; the client must not take what it got for the whole. */
  cut(): void
}
