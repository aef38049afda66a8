/**
 * A request as it is sent on in the shape of HTTP/2, whatever the server speaks: a stream of a session, or one HTTP/1.1
 * connection behind `http1-outgoing.ts`. What comes back goes to the owner that `open` was given.
 */
import type { Http2StreamOwner } from '#http'

export interface OutgoingStream {
  readonly closed: boolean
  readonly writeEnded: boolean
  /** Writes not yet taken: back-pressure while above zero. */
  readonly pendingWrites: number
  /** Code of the RST_STREAM that closed it; -1: none. */
  readonly errorCode: number
  resume(): void
  pause(): void
  writeSlice(bytes: Buffer, start: number, end: number): boolean
  writeBytes(bytes: Buffer): boolean
  end(): void
  sendTrailers(fields: readonly string[]): void
  reset(code?: number): void
}

/** What can carry a request: a session with room, or a connection. */
export interface Outgoing {
  /** It carried others before: when it breaks, that may have nothing to do with the request. */
  readonly reused: boolean
  /** An extended CONNECT for `protocol` (RFC 8441) can be sent. */
  takesUpgrade(protocol: string): boolean
  /** Undefined when it cannot any more. */
  open(fields: readonly string[], endStream: boolean, owner: Http2StreamOwner): OutgoingStream | undefined
  /** The request on it is over, in order or not. */
  over(inOrder: boolean): void
}
