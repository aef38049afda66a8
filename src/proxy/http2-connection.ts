/** One client connection that speaks HTTP/2: each of its streams is an exchange of its own. */
import { type ByteStream, type H2Stream, Http2Session, type StreamOwner } from '#http'
import type { HttpExchange, HttpPipeline } from './http-exchange.ts'
import { Http2Exchange } from './http2-exchange.ts'
import { serverLimits } from './http2-limits.ts'
import type { HeldConnection, Pod } from './pod.ts'
import type { Services } from './services.ts'
import { StreamTransport } from './stream-transport.ts'

export class Http2Connection implements StreamOwner, HeldConnection {
  readonly services: Services
  readonly pod: Pod
  readonly pipeline: HttpPipeline
  readonly clientAddress: string
  readonly #stream: ByteStream
  readonly #session: Http2Session
  readonly #exchanges = new Set<Http2Exchange>()
  #idleSince: number

  constructor(services: Services, pod: Pod, stream: ByteStream, pipeline: HttpPipeline, clientAddress: string) {
    this.services = services
    this.pod = pod
    this.pipeline = pipeline
    this.clientAddress = clientAddress
    this.#stream = stream
    this.#idleSince = services.now()
    this.#session = new Http2Session({
      role: 'server',
      transport: new StreamTransport(stream),
      limits: serverLimits(services.limits.maxHeadBytes),
      onStream: (opened, fields, endStream) => this.#begin(opened, fields, endStream),
      onMalformed: (problem) => this.#malformed(problem),
      onClose: (code, problem) => {
        // What the client did wrong is said nowhere else.
        if (code !== 0) this.#malformed(problem)
      },
    })
    pod.connections.add(this)
  }

  #begin(stream: H2Stream, fields: readonly string[], endStream: boolean): void {
    const exchange = new Http2Exchange(this, stream, fields)
    this.#exchanges.add(exchange)
    exchange.start(endStream)
  }

  /** Its stream is closed. */
  left(exchange: Http2Exchange): void {
    this.#exchanges.delete(exchange)
  }

  #malformed(problem: string): void {
    const { pod, pipeline, clientAddress } = this
    this.services.recorder.request(unread(pod, pipeline, clientAddress), {
      status: 0,
      flag: 'DPE',
      why: problem,
      trace: '',
      durationMs: 0,
      upstreamMs: -1,
      bytesIn: 0,
      bytesOut: 0,
      grpcStatus: -1,
      messagesIn: 0,
      messagesOut: 0,
    })
  }

  onData(bytes: Buffer, length: number): void {
    this.#session.receive(bytes, length)
  }

  /** A connection half closed is of no use to HTTP/2. */
  onEnd(): void {
    this.#stream.close()
  }

  onDrain(): void {
    this.#session.drained()
  }

  onClose(): void {
    this.pod.connections.delete(this)
    this.#session.transportClosed()
    this.services.connectionClosed(this.pod)
  }

  sweep(now: number): void {
    this.#session.tick(now)
    if (this.#exchanges.size > 0) this.#idleSince = now
    else if (now - this.#idleSince > this.services.limits.clientIdleTimeoutMs) this.#session.goaway()
    for (const exchange of this.#exchanges) exchange.sweep(now)
  }

  rejudge(): void {
    for (const exchange of this.#exchanges) exchange.rejudge()
  }

  drain(): void {
    this.#session.goaway()
  }

  abort(): void {
    this.#stream.reset()
  }

  /** Takes over a connection whose first bytes were read by detection. */
  adopt(bytes: Buffer): void {
    this.#stream.owner = this
    this.onData(bytes, bytes.length)
    this.#stream.resume()
  }
}

/** A request of which nothing could be read. */
function unread(pod: Pod, pipeline: HttpPipeline, clientAddress: string): HttpExchange {
  return {
    pod,
    pipeline,
    clientAddress,
    version: 'HTTP/2',
    grpc: false,
    method: '',
    path: '',
    query: '',
    authority: '',
    target: undefined,
    verdict: undefined,
    routeName: undefined,
    versioned: undefined,
    session: undefined,
    avoided: [],
    draw: 0,
    header: () => undefined,
    requestId: () => '',
    requestFields: () => [],
    answerFields: () => [],
    upgraded: false,
  }
}
