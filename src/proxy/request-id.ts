/** The id that a request has from its client, or from whoever was before it. */
import type { HttpExchange } from './http-exchange.ts'

const REQUEST_ID = /^[\x21-\x7e]{1,128}$/

/** Empty when there is none; what else a client may call its request is not worth a place in logs. */
export function keptRequestId(exchange: HttpExchange): string {
  const id = exchange.requestId()
  return id === '' || REQUEST_ID.test(id) ? id : ''
}
