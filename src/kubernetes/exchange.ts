/**
 * One HTTP exchange with bounds: on the time until the answer begins, on the time of the whole, on its size. Whatever
 * goes wrong comes out as a KubernetesError, once.
 */
import { type ClientRequest, type Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { SecureContext } from 'node:tls'
import { startTimer } from '#base'
import { KubernetesError, refusedError, unreachableError } from './kubernetes-error.ts'

export interface Exchange {
  /** What it is called in errors. */
  readonly action: string
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  readonly agent: HttpAgent
  readonly tls: { readonly secureContext: SecureContext; readonly servername?: string; readonly unverified: boolean }
  /** Until the head of the answer has come, ms. */
  readonly headTimeoutMs: number
  /** Of the whole, ms. */
  readonly timeoutMs: number
  /** Any of them ends it. The one that is aborted gives the error thrown. */
  readonly signals: readonly AbortSignal[]
}

/** Reads the body; `action` is for its errors. */
export type Consume<T> = (answer: IncomingMessage, action: string) => Promise<T>

/** Of the body that comes with a refusal. */
const MAX_REFUSAL_BYTES = 64 * 1024
/** A peer that is gone without a word is noticed after this and ten probes of a second each. */
const KEEP_ALIVE_MS = 15_000

/** Gives an answer with a status of 200 to 299 to `consume`; anything else is thrown as a KubernetesError. */
export async function exchange<T>(order: Exchange, consume: Consume<T>): Promise<T> {
  const { action, signals } = order
  for (const signal of signals) signal.throwIfAborted()
  const request = send(order)
  let answer: IncomingMessage | undefined
  let stopped: { readonly error: unknown } | undefined
  const stop = (error: unknown): void => {
    stopped ??= { error }
    const ended = answer ?? request
    ended.destroy()
  }
  const late = (ms: number, what: string) => () => {
    stop(new KubernetesError({ status: 0, reason: 'Timeout', message: `${action}: ${what} within ${ms / 1000} s` }))
  }
  const onAbort = (event: Event): void => {
    if (event.target instanceof AbortSignal) stop(event.target.reason)
  }
  for (const signal of signals) signal.addEventListener('abort', onAbort, { once: true })
  using _ = startTimer(order.timeoutMs, late(order.timeoutMs, 'no whole answer'))
  try {
    {
      using _head = startTimer(order.headTimeoutMs, late(order.headTimeoutMs, 'no answer'))
      answer = await answerTo(request)
    }
    const status = answer.statusCode ?? 0
    if (status >= 200 && status <= 299) return await consume(answer, action)
    const body = await readRefusal(answer).catch(() => '')
    if (stopped !== undefined) throw stopped.error
    throw refusedError(action, status, body, answer.headers['retry-after'])
  } catch (thrown) {
    if (stopped !== undefined) throw stopped.error
    // The server closes connections that were idle: the request was not read, and another connection is tried.
    const unread = answer === undefined && request.reusedSocket && order.method === 'GET'
    if (!unread) throw unreachableError(action, thrown)
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', onAbort)
    // Read to its end, the connection is used again; else it is of no more use.
    if (answer?.complete !== true) request.destroy()
  }
  return await exchange(order, consume)
}

function send({ url, method, headers, body, agent, tls }: Exchange): ClientRequest {
  const options = { method, agent, headers: { ...headers, ...(body === undefined ? {} : lengthOf(body)) } }
  const secured = {
    ...options,
    secureContext: tls.secureContext,
    rejectUnauthorized: !tls.unverified,
    ...(tls.servername === undefined ? {} : { servername: tls.servername }),
  }
  const request = url.protocol === 'http:' ? requestHttp(url, options) : requestHttps(url, secured)
  // Errors after the answer has begun come out where it is read.
  request.on('error', () => undefined)
  request.on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS))
  request.end(body)
  return request
}

function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  request.once('response', (answer) => {
    answer.on('error', () => undefined)
    resolve(answer)
  })
  request.once('error', reject)
  request.once('close', () => reject(Object.assign(new Error('the connection broke'), { code: 'ECONNRESET' })))
  return promise
}

export async function readText(answer: IncomingMessage, maxBytes: number, action: string): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer) {
    if (!Buffer.isBuffer(chunk)) continue
    bytes += chunk.length
    if (bytes > maxBytes) {
      const message = `${action}: the answer has more than ${maxBytes} bytes`
      throw new KubernetesError({ status: answer.statusCode ?? 0, reason: 'TooLarge', message })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** The beginning of it, whatever happens. */
async function readRefusal(answer: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of answer) {
    text += String(chunk)
    if (text.length > MAX_REFUSAL_BYTES) break
  }
  return text
}

function lengthOf(body: string): Record<string, string> {
  return { 'content-length': String(Buffer.byteLength(body)) }
}
