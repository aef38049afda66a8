/** Limits of a tunnel's HTTP/2 session, at either end. */
export const TUNNEL_LIMITS = {
  maxConcurrentStreams: 2048,
  maxOpenStreams: 2048,
  // Streams are other people's connections: none waits for another one's reader. At most 144 MiB wait for all of them.
  streamWindowBytes: 64 * 1024,
  maxStreamWindowBytes: 1024 * 1024,
  windowGrowthBytes: 16 * 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxQueuedBytes: Number.POSITIVE_INFINITY,
  // A reader that stalls holds its writer for as long as it likes.
  stallTimeoutMs: Number.POSITIVE_INFINITY,
  // Clients that give up in numbers are no reason to end the tunnel of all the others.
  resets: { burst: 4096, perSecond: 1000 },
} as const
