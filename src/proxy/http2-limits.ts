/** Limits of the HTTP/2 sessions with applications, at either end. */
import type { Http2Limits } from '#http'

/** What waits in a session for readers that stall: no more than the windows of all its streams, here 16 MiB and growth. */
const WINDOWS = {
  streamWindowBytes: 64 * 1024,
  maxStreamWindowBytes: 1024 * 1024,
  windowGrowthBytes: 8 * 1024 * 1024,
  connectionWindowBytes: 8 * 1024 * 1024,
  // Streams wait for their own readers only.
  maxQueuedBytes: Number.POSITIVE_INFINITY,
} as const

/** With clients. */
export function serverLimits(maxHeadBytes: number): Partial<Http2Limits> {
  return { ...WINDOWS, maxConcurrentStreams: 256, maxHeaderListBytes: maxHeadBytes, maxHeaderBlockBytes: maxHeadBytes }
}

/** With servers. */
export function clientLimits(maxHeadBytes: number, connectTimeoutMs: number): Partial<Http2Limits> {
  return {
    ...WINDOWS,
    maxOpenStreams: 256,
    maxHeaderListBytes: maxHeadBytes,
    maxHeaderBlockBytes: maxHeadBytes,
    settingsTimeoutMs: connectTimeoutMs,
  }
}
