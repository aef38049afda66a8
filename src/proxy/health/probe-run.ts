/**
 * One question to one endpoint, on a connection of its own, from the connect to the answer. It ends in time whatever the
 * endpoint does: one that hangs has failed.
 */
import type { HealthProbe } from '#contract'
import type { ByteStream, StreamOwner } from '#http'
import type { Dialer } from '../dialer.ts'
import { HttpProbe } from './http-probe.ts'
import { GrpcProbe, Http2Probe } from './http2-probe.ts'
import { ConnectProbe, TcpProbe } from './tcp-probe.ts'

/** Empty: passed. `denied`: policy keeps us from asking, which says nothing of the endpoint. */
export type ProbeResult =
  | { readonly kind: 'done'; readonly why: string }
  | { readonly kind: 'denied'; readonly why: string }

export interface ProbeQuestion {
  readonly probe: HealthProbe
  readonly dialer: Dialer
  readonly timeoutMs: number
  /** Of HTTP and gRPC. */
  readonly authority: string
  /** Header lines, each with its CRLF, by which the application knows who asks. */
  readonly identityLines: string
  /** The same, for HTTP/2: name and value. */
  readonly identityFields: readonly string[]
  /** Another node's proxy stands in between. */
  readonly tunnelled: boolean
  /** HTTP is asked for by HTTP/2. */
  readonly http2: boolean
  readonly maxHeadBytes: number
  readonly maxHeaders: number
  errorText(status: number): string
}

/** What a probe tells of its conversation; what comes after the first word counts for nothing. */
export interface ProbeEnd {
  passed(): void
  failed(why: string): void
  denied(why: string): void
}

/** An answer may go on after it has told enough: so much of it is read to its end, so that nobody sees a reset. */
const MAX_REST_BYTES = 65536

export class ProbeRun implements ProbeEnd {
  readonly #done: (result: ProbeResult) => void
  readonly #timer: NodeJS.Timeout
  #stream: ByteStream | undefined
  #over = false

  constructor(question: ProbeQuestion, done: (result: ProbeResult) => void) {
    const { dialer, timeoutMs, probe, tunnelled } = question
    this.#done = done
    this.#timer = setTimeout(() => {
      this.failed(`no answer within ${timeoutMs} ms`)
      this.#stream?.close()
    }, timeoutMs)
    const onlyConnects = probe.type === 'TCP' && probe.send === undefined && probe.expect === undefined
    dialer.dial((status, stream, error) => {
      if (stream === undefined) this.failed(`could not connect: ${error === '' ? question.errorText(status) : error}`)
      else if (this.#over) stream.close()
      else if (onlyConnects && !tunnelled) {
        stream.close()
        this.passed()
      } else {
        this.#stream = stream
        this.#talk(question, stream, onlyConnects)
      }
    }, onlyConnects)
  }

  #talk(question: ProbeQuestion, stream: ByteStream, onlyConnects: boolean): void {
    const { probe } = question
    if (onlyConnects) stream.owner = new ConnectProbe(this)
    else if (probe.type === 'TCP') stream.owner = new TcpProbe(stream, probe, this)
    else if (probe.type === 'GRPC') stream.owner = new GrpcProbe(stream, probe, question, this).transport
    else if (question.http2) stream.owner = new Http2Probe(stream, probe, question, this).transport
    else stream.owner = new HttpProbe(stream, probe, question, this)
    stream.resume()
  }

  get over(): boolean {
    return this.#over
  }

  passed(): void {
    this.#finish({ kind: 'done', why: '' })
  }

  failed(why: string): void {
    this.#finish({ kind: 'done', why: why.slice(0, MAX_WHY_CHARACTERS) })
  }

  denied(why: string): void {
    this.#finish({ kind: 'denied', why: why.slice(0, MAX_WHY_CHARACTERS) })
  }

  #finish(result: ProbeResult): void {
    if (this.#over) return
    this.#over = true
    const stream = this.#stream
    if (stream === undefined || stream.closed || stream.readEnded) {
      clearTimeout(this.#timer)
      stream?.close()
    } else stream.owner = new Rest(stream, this.#timer)
    this.#done(result)
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#stream?.close()
  }
}

const MAX_WHY_CHARACTERS = 200

/** Reads on until the other end has ended, within the time that the probe had. */
class Rest implements StreamOwner {
  readonly #stream: ByteStream
  readonly #timer: NodeJS.Timeout
  #left = MAX_REST_BYTES

  constructor(stream: ByteStream, timer: NodeJS.Timeout) {
    this.#stream = stream
    this.#timer = timer
    stream.end()
  }

  onData(_bytes: Buffer, length: number): void {
    this.#left -= length
    if (this.#left < 0) this.#stream.close()
  }

  onEnd(): void {
    this.#stream.close()
  }

  onDrain(): void {}

  onClose(): void {
    clearTimeout(this.#timer)
  }
}
