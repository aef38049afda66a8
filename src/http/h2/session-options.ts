/** What a session is made of, and what it tells. */
import type { Http2Limits } from './limits.ts'
import type { Http2Role } from './settings.ts'
import type { H2Stream } from './stream.ts'

/** What carries a session's bytes. */
export interface Http2Transport {
  /** True: the bytes are no longer needed. False: they are, until `session.drained()`; nothing is written before. */
  write(bytes: Buffer): boolean
  /** Ends our side after everything written; the caller closes when the peer has ended too. */
  end(): void
  /** Closes at once; `session.transportClosed()` may follow or not. */
  destroy(): void
  /** Calls `flush` once, when this turn of the event loop has done its work. */
  schedule(flush: () => void): void
}

export interface Http2SessionOptions {
  readonly role: Http2Role
  readonly transport: Http2Transport
  readonly limits?: Partial<Http2Limits>
  /** Server: a request; set `stream.owner` and resume it, or respond. `endStream`: nothing follows its headers. */
  readonly onStream?: (stream: H2Stream, headers: readonly string[], endStream: boolean) => void
  /** Server: a request that was reset because it is malformed (RFC 9113 section 8.1.1), and why. */
  readonly onMalformed?: (problem: string) => void
  /** The peer's SETTINGS have come: what it allows is known (again). */
  readonly onSettings?: () => void
  /** The peer takes no new streams; those above `lastStream` have been closed as refused. */
  readonly onGoaway?: (lastStream: number, code: number) => void
  /** The session is over, its streams are closed. NO_ERROR: ended in order. `problem` is for the log. */
  readonly onClose?: (code: number, problem: string) => void
}
