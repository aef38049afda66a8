/**
 * What one HTTP/2 connection may cost. Every table, queue and rate has its bound here. Rates are token
 * buckets filled by `Http2Session.tick`, so that the engine needs no clock.
 */

export interface Http2Limits {
  /** Streams the peer may have open at once (SETTINGS_MAX_CONCURRENT_STREAMS); beyond: REFUSED_STREAM. */
  readonly maxConcurrentStreams: number
  /** Streams we open at once, whatever the peer allows. */
  readonly maxOpenStreams: number
  /** Receive window that a stream begins with, bytes: what is queued for a paused stream at most. At least 65535. */
  readonly streamWindowBytes: number
  /** To which the window of a stream grows whose reader keeps up with a fast writer. */
  readonly maxStreamWindowBytes: number
  /** Bytes that all streams' windows together may have grown by. */
  readonly windowGrowthBytes: number
  /** Receive window of the connection, bytes. At least 65535. */
  readonly connectionWindowBytes: number
  /**
   * Bytes queued for paused streams above which the connection's window is left to close too, and all streams wait for
   * those that are paused. What a peer can make us hold is at most this and `connectionWindowBytes`; with Infinity, the
   * windows of all streams.
   */
  readonly maxQueuedBytes: number
  /** Largest frame we accept (SETTINGS_MAX_FRAME_SIZE), bytes, 16384 to 16777215. */
  readonly maxFrameBytes: number
  /** Size of a header list after decompression, RFC 7541 section 4.1 (SETTINGS_MAX_HEADER_LIST_SIZE); beyond: 431. */
  readonly maxHeaderListBytes: number
  /** Compressed header block over all its frames, bytes; beyond: ENHANCE_YOUR_CALM. */
  readonly maxHeaderBlockBytes: number
  /** CONTINUATION frames of one header block; beyond: ENHANCE_YOUR_CALM. */
  readonly maxContinuations: number
  /** Bytes waiting for a transport that does not take them, DATA aside; beyond: ENHANCE_YOUR_CALM. */
  readonly maxBacklogBytes: number
  /**
   * Resets by the peer before we have answered, and mistakes of it we answer with a reset (CVE-2023-44487,
   * CVE-2025-8671). Server only.
   */
  readonly resets: Rate
  readonly settings: Rate
  readonly pings: Rate
  /** Frames without content: DATA without END_STREAM, HEADERS and CONTINUATION without END_HEADERS. */
  readonly emptyFrames: Rate
  /** PRIORITY and frames of unknown type. */
  readonly ignoredFrames: Rate
  /** WINDOW_UPDATE frames beyond `WINDOW_UPDATES_PER_FRAME` for each DATA frame we send. */
  readonly windowUpdates: Rate
  /** From our SETTINGS to the peer's acknowledgement, and to its own SETTINGS. */
  readonly settingsTimeoutMs: number
  /**
   * Data queued and none of it taken for this long: the stream is reset. Infinity for tunnels whose streams are to be
   * as patient as TCP is.
   */
  readonly stallTimeoutMs: number
  /** The transport has not taken a write for this long: it is destroyed. */
  readonly transportTimeoutMs: number
  /** From our end of the connection to the peer's. */
  readonly closeTimeoutMs: number
}

/** A token bucket: `burst` at once, `perSecond` for ever. */
export interface Rate {
  readonly burst: number
  readonly perSecond: number
}

export const WINDOW_UPDATES_PER_FRAME = 8

export const DEFAULT_HTTP2_LIMITS: Http2Limits = {
  maxConcurrentStreams: 256,
  maxOpenStreams: 1024,
  streamWindowBytes: 512 * 1024,
  maxStreamWindowBytes: 512 * 1024,
  windowGrowthBytes: 0,
  connectionWindowBytes: 8 * 1024 * 1024,
  maxQueuedBytes: 8 * 1024 * 1024,
  maxFrameBytes: 16384,
  maxHeaderListBytes: 64 * 1024,
  maxHeaderBlockBytes: 64 * 1024,
  maxContinuations: 8,
  maxBacklogBytes: 1024 * 1024,
  // nghttp2: 1000 and 33.
  resets: { burst: 1000, perSecond: 33 },
  settings: { burst: 32, perSecond: 1 },
  // gRPC libraries measure the bandwidth-delay product with up to one PING per round trip.
  pings: { burst: 1000, perSecond: 200 },
  emptyFrames: { burst: 100, perSecond: 10 },
  ignoredFrames: { burst: 1000, perSecond: 100 },
  windowUpdates: { burst: 10_000, perSecond: 1000 },
  settingsTimeoutMs: 10_000,
  stallTimeoutMs: 60_000,
  transportTimeoutMs: 60_000,
  closeTimeoutMs: 5_000,
}

/** Defaults filled in, and values the protocol does not allow brought into its range. */
export function resolveLimits(limits: Partial<Http2Limits>): Http2Limits {
  const all = { ...DEFAULT_HTTP2_LIMITS, ...limits }
  return {
    ...all,
    streamWindowBytes: clamp(all.streamWindowBytes, 65535, 2 ** 31 - 1),
    connectionWindowBytes: clamp(all.connectionWindowBytes, 65535, 2 ** 31 - 1),
    maxFrameBytes: clamp(all.maxFrameBytes, 16384, 2 ** 24 - 1),
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, Math.floor(value)))
}

/** What is left of a rate. */
export class Bucket {
  left: number
  readonly #rate: Rate

  constructor(rate: Rate) {
    this.#rate = rate
    this.left = rate.burst
  }

  /** False when nothing is left. */
  take(): boolean {
    return --this.left >= 0
  }

  refill(elapsedMs: number): void {
    this.left = Math.min(this.#rate.burst, this.left + (this.#rate.perSecond * elapsedMs) / 1000)
  }
}
