/** Health checks by HTTP/2 in the clear: of HTTP, and of gRPC (github.com/grpc/grpc/blob/master/doc/health-checking.md). */
import { percentDecoded } from '#base'
import { type HealthProbe, REFUSAL_HEADER } from '#contract'
import { type ByteStream, Http2Session, type Http2StreamOwner, type Http2Transport, type StreamOwner } from '#http'
import { judgeStatus, PROBE_AGENT } from './http-probe.ts'
import type { ProbeEnd, ProbeQuestion } from './probe-run.ts'

const GRPC_PATH = '/grpc.health.v1.Health/Check'
const SERVING = 1
const STATES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN']
const MAX_ANSWER_BYTES = 4096

/** Carries a session's bytes over a plain stream; what it decided is told once its last words are written. */
class PlainTransport implements Http2Transport, StreamOwner {
  session: Http2Session | undefined
  readonly #stream: ByteStream
  readonly #ended: () => void

  constructor(stream: ByteStream, ended: () => void) {
    this.#stream = stream
    this.#ended = ended
  }

  write(bytes: Buffer): boolean {
    this.#stream.writeSlice(bytes, 0, bytes.length)
    return true
  }

  end(): void {
    this.#ended()
  }

  destroy(): void {
    this.#ended()
  }

  schedule(flush: () => void): void {
    setImmediate(flush)
  }

  onData(bytes: Buffer, length: number): void {
    this.session?.receive(bytes, length)
  }

  onEnd(): void {
    this.session?.transportClosed()
  }

  onDrain(): void {}

  onClose(): void {
    this.session?.transportClosed()
  }
}

/** One request on a session of its own. */
abstract class OneRequest implements Http2StreamOwner {
  readonly transport: PlainTransport
  readonly #session: Http2Session
  readonly #end: ProbeEnd
  #told: (() => void) | undefined

  constructor(stream: ByteStream, question: ProbeQuestion, end: ProbeEnd) {
    this.#end = end
    this.transport = new PlainTransport(stream, () => this.#tell())
    this.#session = new Http2Session({
      role: 'client',
      transport: this.transport,
      limits: { maxHeaderListBytes: question.maxHeadBytes },
      onClose: (_code, problem) => this.decide('failed', `the connection ended before the answer: ${problem}`),
    })
    this.transport.session = this.#session
  }

  ask(headers: readonly string[], body: Buffer | undefined): void {
    const stream = this.#session.open(headers, body === undefined)
    if (stream === undefined) {
      this.decide('failed', 'no stream could be opened')
      return
    }
    stream.owner = this
    stream.resume()
    if (body !== undefined) {
      stream.writeBytes(body)
      stream.end()
    }
  }

  /** The first word counts; the session then ends in order. */
  decide(kind: 'passed' | 'failed' | 'denied', why: string): void {
    if (this.#told !== undefined) return
    this.#told = () => {
      if (kind === 'passed') this.#end.passed()
      else this.#end[kind](why)
    }
    if (this.#session.alive) this.#session.close()
    else this.#tell()
  }

  #tell(): void {
    const told = this.#told
    if (told === undefined) this.#end.failed('the connection ended before the answer')
    else told()
  }

  abstract onHeaders(headers: readonly string[]): void
  onData(_bytes: Buffer, _length: number): void {}
  onEnd(): void {}
  onDrain(): void {}

  onClose(): void {
    this.decide('failed', 'the stream was reset before the answer')
  }
}

export class Http2Probe extends OneRequest {
  readonly #probe: Extract<HealthProbe, { type: 'HTTP' }>
  readonly #tunnelled: boolean

  constructor(
    stream: ByteStream,
    probe: Extract<HealthProbe, { type: 'HTTP' }>,
    question: ProbeQuestion,
    end: ProbeEnd,
  ) {
    super(stream, question, end)
    this.#probe = probe
    this.#tunnelled = question.tunnelled
    this.ask(headOf('GET', probe.path, question), undefined)
  }

  override onHeaders(headers: readonly string[]): void {
    const status = Number(headerOf(headers, ':status'))
    if (status < 200) return
    const refusal = this.#tunnelled ? headerOf(headers, REFUSAL_HEADER) : undefined
    judgeStatus(status, refusal, this.#probe.statuses, {
      passed: () => this.decide('passed', ''),
      failed: (why) => this.decide('failed', why),
      denied: (why) => this.decide('denied', why),
    })
  }
}

export class GrpcProbe extends OneRequest {
  readonly #tunnelled: boolean
  #bytes = Buffer.alloc(0)

  constructor(
    stream: ByteStream,
    { service }: Extract<HealthProbe, { type: 'GRPC' }>,
    question: ProbeQuestion,
    end: ProbeEnd,
  ) {
    super(stream, question, end)
    this.#tunnelled = question.tunnelled
    const head = headOf('POST', GRPC_PATH, question)
    this.ask([...head, 'content-type', 'application/grpc', 'te', 'trailers'], requestBytes(service))
  }

  override onHeaders(headers: readonly string[]): void {
    const status = Number(headerOf(headers, ':status'))
    if (status < 200) return
    if (this.#tunnelled && headerOf(headers, REFUSAL_HEADER) === 'RBAC')
      this.decide('denied', 'policy of the destination denies it')
    else if (status !== 200) this.decide('failed', `answered ${status}`)
    else this.#refused(headers)
  }

  onTrailers(headers: readonly string[]): void {
    if (!this.#refused(headers)) this.#judge()
  }

  /** An answer without a message has its status in its head. */
  #refused(headers: readonly string[]): boolean {
    const code = headerOf(headers, 'grpc-status')
    if (code === undefined || code === '0') return false
    // One that is not well encoded is told as it is.
    const message = percentDecoded(headerOf(headers, 'grpc-message') ?? '')
    this.decide('failed', `answered grpc-status ${code}${message === '' ? '' : `: ${message}`}`)
    return true
  }

  override onData(bytes: Buffer, length: number): void {
    if (this.#bytes.length > MAX_ANSWER_BYTES) this.decide('failed', 'the answer is too large')
    else this.#bytes = Buffer.concat([this.#bytes, bytes.subarray(0, length)])
  }

  override onEnd(): void {
    this.decide('failed', 'the answer has no grpc-status')
  }

  #judge(): void {
    const state = stateOf(this.#bytes)
    if (state === SERVING) this.decide('passed', '')
    else
      this.decide(
        'failed',
        state === undefined ? 'the answer is no HealthCheckResponse' : `answered ${STATES[state] ?? state}`,
      )
  }
}

function headOf(method: string, path: string, { authority, identityFields }: ProbeQuestion): string[] {
  const pseudo = [':method', method, ':scheme', 'http', ':path', path, ':authority', authority]
  return [...pseudo, 'user-agent', PROBE_AGENT, ...identityFields]
}

function headerOf(headers: readonly string[], name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1]
  return undefined
}

/** A HealthCheckRequest behind its five bytes (compressed or not, length). */
function requestBytes(service: string): Buffer {
  const name = Buffer.from(service)
  const length = name.length < 128 ? [name.length] : [(name.length & 127) | 128, name.length >>> 7]
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, ...length]), name])
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

/** `status`, field 1 of a HealthCheckResponse; 0 when it is left out; undefined for what is none. */
function stateOf(bytes: Buffer): number | undefined {
  if (bytes.length < 5 || bytes[0] !== 0 || bytes.readUInt32BE(1) !== bytes.length - 5) return undefined
  if (bytes.length === 5) return 0
  return bytes[5] === 0x08 && bytes.length === 7 && (bytes[6] ?? 255) < 128 ? bytes[6] : undefined
}
