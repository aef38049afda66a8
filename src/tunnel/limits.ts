/** Limits of a tunnel's HTTP/2 session, at either end. */
export const TUNNEL_LIMITS = {
  maxConcurrentStreams: 4096,
  maxOpenStreams: 4096,
  streamWindowBytes: 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxQueuedBytes: 16 * 1024 * 1024,
  // A reader that stalls holds its writer for as long as it likes: the streams are other people's connections.
  stallTimeoutMs: Number.POSITIVE_INFINITY,
  // Clients that give up in numbers are no reason to end the tunnel of all the others.
  resets: { burst: 4096, perSecond: 1000 },
} as const
