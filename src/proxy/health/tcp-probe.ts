/** TCP health checks: what is said first, and what has to come. */
import type { HealthProbe } from '#contract'
import { type ByteStream, latin1, type StreamOwner } from '#http'
import type { ProbeEnd } from './probe-run.ts'

/** What is expected has to come within so many bytes. */
const MAX_ANSWER_BYTES = 16384

export class TcpProbe implements StreamOwner {
  readonly #expect: string | undefined
  readonly #end: ProbeEnd
  #text = ''

  constructor(stream: ByteStream, { send, expect }: Extract<HealthProbe, { type: 'TCP' }>, end: ProbeEnd) {
    this.#expect = expect
    this.#end = end
    if (send !== undefined) stream.writeText(send)
    if (expect === undefined) stream.end()
  }

  onData(bytes: Buffer, length: number): void {
    if (this.#expect === undefined) {
      this.#end.passed()
      return
    }
    this.#text += latin1(bytes, 0, length)
    if (this.#text.includes(this.#expect)) this.#end.passed()
    else if (this.#text.length > MAX_ANSWER_BYTES) this.#end.failed('the answer is not what is expected')
  }

  onEnd(): void {
    if (this.#expect === undefined) this.#end.passed()
    else this.#end.failed('the connection ended before what is expected came')
  }

  onDrain(): void {}

  onClose(): void {
    this.#end.failed('the connection was reset')
  }
}

/** By which a node answers, within a tunnel, whether the application takes a connection: it ends in order if so. */
export const CONNECT_DENIED = 'denied'

/** Waits for the destination's node to tell whether it could connect. */
export class ConnectProbe implements StreamOwner {
  readonly #end: ProbeEnd

  constructor(end: ProbeEnd) {
    this.#end = end
  }

  onData(bytes: Buffer, length: number): void {
    if (latin1(bytes, 0, length).startsWith(CONNECT_DENIED)) this.#end.denied('policy of the destination denies it')
  }

  onEnd(): void {
    this.#end.passed()
  }

  onDrain(): void {}

  onClose(): void {
    this.#end.failed('the application takes no connection')
  }
}
