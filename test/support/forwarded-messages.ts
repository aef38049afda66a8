/** The messages in what the proxy sent on one connection to a server, as the proxy's own reader has them. */
import { BodyReader, Head, PARSE_BAD, PARSE_DONE } from '#http'
import type { ReadMessage } from './http1-readers.ts'

export interface Forwarded {
  readonly wire: string
  readonly message: ReadMessage
  /** CONNECT or an upgrade: what follows is not HTTP. */
  readonly isTunnel: boolean
}

function linesOf(head: Head): string[] {
  return Array.from({ length: head.headerCount }, (_, i) => `${head.name(i)}: ${head.value(i)}`)
}

/** `rest`: a message that has begun; `problem`: what is no message of ours. */
export function forwardedMessages(text: string): { messages: Forwarded[]; rest: string; problem: string } {
  const bytes = Buffer.from(text, 'latin1')
  const messages: Forwarded[] = []
  for (let at = 0; at < bytes.length; ) {
    const rest = () => ({ messages, rest: text.slice(at), problem: '' })
    const head = new Head(65_536, 256)
    const result = head.parseRequest(bytes, at, bytes.length)
    if (result === PARSE_BAD) return { messages, rest: '', problem: head.problem }
    if (result !== PARSE_DONE) return rest()
    const body = new BodyReader(65_536, 256)
    body.begin(head.chunked ? 'chunked' : head.contentLength >= 0 ? 'length' : 'none', head.contentLength)
    let data = ''
    const sink = {
      bodyData: (from: Buffer, start: number, end: number) => (data += from.toString('latin1', start, end)),
    }
    const end = body.read(bytes, at + head.length, bytes.length, sink)
    if (body.problem !== '') return { messages, rest: '', problem: body.problem }
    if (!body.done) return rest()
    const { method, target } = head
    const trailers = body.trailers === undefined ? [] : linesOf(body.trailers)
    const isTunnel = method === 'CONNECT' || head.connectionUpgrade
    messages.push({
      wire: text.slice(at, end),
      message: { method, target, fields: linesOf(head), body: data, trailers },
      isTunnel,
    })
    at = end
    if (isTunnel) return { messages, rest: '', problem: '' }
  }
  return { messages, rest: '', problem: '' }
}
