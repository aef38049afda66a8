/** One POST of a JSON body, and what became of it: in words, never thrown. Follows no redirects, keeps no connection. */
import { request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { errorLine } from '#base'

export interface PostedJson {
  readonly url: string
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
  /** PEM; undefined: the machine's own. */
  readonly ca: string | undefined
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** `refused`: the other side understood, and does not want it as it is. */
export interface PostOutcome {
  readonly outcome: 'delivered' | 'refused' | 'failed'
  /** One line; empty when delivered. */
  readonly why: string
}

/** Retried by Alertmanager: what is the other side's trouble, not ours. */
const COME_AGAIN: ReadonlySet<number> = new Set([408, 429])
const MAX_ANSWER_BYTES = 64 << 10

export async function postJson({ url, body, headers, ca, timeoutMs, signal }: PostedJson): Promise<PostOutcome> {
  const { promise, resolve } = Promise.withResolvers<PostOutcome>()
  const timeout = AbortSignal.timeout(timeoutMs)
  const request = url.startsWith('https:') ? requestTls : requestPlain
  try {
    const sent = request(url, {
      method: 'POST',
      agent: false,
      headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      signal: AbortSignal.any([signal, timeout]),
      ...(ca === undefined ? {} : { ca }),
    })
    let isAnswered = false
    sent.on('response', (response) => {
      isAnswered = true
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > MAX_ANSWER_BYTES) response.destroy()
      })
      // The status decides; how the rest ends does not.
      response.on('error', () => undefined)
      response.on('close', () => resolve(outcomeOf(response.statusCode ?? 0)))
    })
    sent.on('error', (error) => {
      const why = timeout.aborted ? `no answer within ${timeoutMs} ms` : errorLine(error)
      resolve({ outcome: 'failed', why })
    })
    // A receiver that would speak another protocol (101) has sent no answer, and Node tells of no error.
    sent.on('close', () => {
      if (!isAnswered) resolve({ outcome: 'failed', why: 'it ended the connection without an answer' })
    })
    sent.end(body)
  } catch (thrown) {
    resolve({ outcome: 'failed', why: errorLine(thrown) })
  }
  return await promise
}

function outcomeOf(status: number): PostOutcome {
  if (status >= 200 && status <= 299) return { outcome: 'delivered', why: '' }
  const isRefused = status < 500 && !COME_AGAIN.has(status)
  return { outcome: isRefused ? 'refused' : 'failed', why: `it answered ${status}` }
}
