/** The time by an HTTP server's clock, from the answers that it gives this process anyway, refusals among them. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ServerClock } from './clock-lines.ts'

const CHANNEL = 'http.client.response.finish'

/**
 * Runs `ask`, which asks the server, and tells what the Date header of an answer meanwhile said. Rejects as `ask` does.
 * @param server scheme, host and port
 * @param now this node's clock, ms since the epoch
 */
export async function withServerDate<T>(
  server: string,
  ask: () => Promise<T>,
  now: () => number,
): Promise<{ readonly answer: T; readonly clock: ServerClock }> {
  const { host } = new URL(server)
  const askedMs = now()
  let dateMs: number | undefined
  let answeredMs = askedMs
  const look = (message: unknown): void => {
    const date = dateOf(message, host)
    if (date === undefined) return
    dateMs = date
    answeredMs = now()
  }
  subscribe(CHANNEL, look)
  try {
    return { answer: await ask(), clock: { dateMs, askedMs, answeredMs } }
  } finally {
    unsubscribe(CHANNEL, look)
  }
}

/** A message of that channel holds the `request` and its `response`. */
function dateOf(message: unknown, host: string): number | undefined {
  if (!isRecord(message) || !isRecord(message['request']) || !isRecord(message['response'])) return undefined
  const { request, response } = message
  const getHeader = request['getHeader']
  if (typeof getHeader !== 'function' || Reflect.apply(getHeader, request, ['host']) !== host) return undefined
  const date = isRecord(response['headers']) ? response['headers']['date'] : undefined
  const parsed = typeof date === 'string' ? Date.parse(date) : Number.NaN
  return Number.isNaN(parsed) ? undefined : parsed
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
