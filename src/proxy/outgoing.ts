/** What a request in the shape of HTTP/2 is sent on, by what its target speaks. */
import type { Connecting } from './exchange.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { Http1Outgoing } from './http1-outgoing.ts'
import type { Outgoing } from './outgoing-stream.ts'

/** What is there; undefined: it takes a new connection. */
export function outgoingNow({ pool, speaks }: ExchangeTarget): Outgoing | undefined {
  if (speaks !== 'HTTP/1.1') return pool.sessions.take()
  const idle = pool.idle()
  return idle === undefined ? undefined : new Http1Outgoing(idle)
}

export function connectOutgoing({ pool, flow, speaks }: ExchangeTarget, done: Connecting<Outgoing>): void {
  if (speaks !== 'HTTP/1.1') {
    pool.sessions.connect(flow, done)
    return
  }
  pool.connect((connection, status, error) => {
    flow?.connected(connection)
    done(connection === undefined ? undefined : new Http1Outgoing(connection), status, error)
  })
}
