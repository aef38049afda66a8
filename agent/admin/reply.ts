/** What an admin path answers: a status and a text, nothing of HTTP's own. */

export interface Reply {
  readonly status: number
  readonly contentType: string
  readonly body: string
  /** Besides those of every answer, which they replace by name; lower case. */
  readonly headers?: Readonly<Record<string, string>>
}

export function jsonReply(value: unknown, status = 200): Reply {
  return { status, contentType: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` }
}

export function textReply(body: string, status = 200, contentType = 'text/plain; charset=utf-8'): Reply {
  return { status, contentType, body }
}

/** Errors are one line, under `error`. */
export function errorReply(status: number, error: string): Reply {
  return jsonReply({ error }, status)
}

const bytes = new WeakMap<Reply, Buffer>()

/** The body, the same bytes for all who are told it: text is copied for each who is slow to read. */
export function bytesOf(reply: Reply): Buffer {
  const known = bytes.get(reply) ?? Buffer.from(reply.body)
  bytes.set(reply, known)
  return known
}
