/** A byte stream with back-pressure, whatever carries it: a TCP connection or a stream in a tunnel. */

/** What a stream tells its owner. After `onClose` nothing follows. */
export interface StreamOwner {
  /** `bytes[0..length)` is valid only during the call. */
  onData(bytes: Buffer, length: number): void
  /** The peer has sent everything it will (FIN, END_STREAM). */
  onEnd(): void
  /** Everything written has been taken. */
  onDrain(): void
  /** Closed; `status` is a negative libuv error, or 0 when closed in order or by ourselves. */
  onClose(status: number): void
}

/** A closed stream is silent, and takes writes without doing anything. It closes by itself once both sides have ended. */
export interface ByteStream {
  owner: StreamOwner
  readonly closed: boolean
  /** The peer has ended its side. */
  readonly readEnded: boolean
  /** We have ended ours, or will after what is queued. */
  readonly writeEnded: boolean
  /** Writes not yet taken: back-pressure while above zero. */
  readonly pendingWrites: number
  readonly reading: boolean
  resume(): void
  pause(): void
  /** Writes latin1 text; false: wait for `onDrain` before writing much more. */
  writeText(text: string): boolean
  /** Writes bytes the caller will not change any more; false as for `writeText`. */
  writeBytes(bytes: Buffer): boolean
  /** Writes part of a buffer that the caller reuses afterwards. */
  writeSlice(bytes: Buffer, start: number, end: number): boolean
  /** The write that follows is the last: it may wait for the `end` that comes at once. */
  holdForEnd(): void
  /** Ends our side after everything queued; reading goes on. */
  end(): void
  /** While paused nothing is read, and nothing heard of the peer: this finds out whether it has reset the connection. */
  checkPaused(): void
  /** Closes at once; queued writes are lost. */
  close(): void
  /** Closes so that the peer sees an error, not an end (RST, RST_STREAM). */
  reset(): void
}
