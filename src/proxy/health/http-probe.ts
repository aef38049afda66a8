/** An HTTP/1.1 health check: one GET, judged by its status. */
import { type HealthProbe, REFUSAL_HEADER, type StatusRange } from '#contract'
import { type ByteStream, Head, PARSE_BAD, PARSE_DONE, type StreamOwner } from '#http'
import type { ProbeEnd, ProbeQuestion } from './probe-run.ts'

export const PROBE_AGENT = 'weir-health-check'

export class HttpProbe implements StreamOwner {
  readonly #probe: Extract<HealthProbe, { type: 'HTTP' }>
  readonly #question: ProbeQuestion
  readonly #end: ProbeEnd
  readonly #head: Head
  #bytes = Buffer.alloc(0)

  constructor(
    stream: ByteStream,
    probe: Extract<HealthProbe, { type: 'HTTP' }>,
    question: ProbeQuestion,
    end: ProbeEnd,
  ) {
    this.#probe = probe
    this.#question = question
    this.#end = end
    this.#head = new Head(question.maxHeadBytes, question.maxHeaders)
    const { authority, identityLines } = question
    stream.writeText(
      `GET ${probe.path} HTTP/1.1\r\nhost: ${authority}\r\nuser-agent: ${PROBE_AGENT}\r\naccept: */*\r\n${identityLines}connection: close\r\n\r\n`,
    )
  }

  onData(bytes: Buffer, length: number): void {
    let all = Buffer.concat([this.#bytes, bytes.subarray(0, length)])
    for (;;) {
      const result = this.#head.parseResponse(all, 0, all.length)
      if (result === PARSE_BAD) {
        this.#end.failed(`the answer is no HTTP: ${this.#head.problem}`)
        return
      }
      if (result !== PARSE_DONE) break
      const { status } = this.#head
      if (status >= 200) {
        const refusal = this.#question.tunnelled ? this.#head.get(REFUSAL_HEADER) : undefined
        judgeStatus(status, refusal, this.#probe.statuses, this.#end)
        return
      }
      // Interim answers go before the one that counts.
      all = all.subarray(this.#head.length)
    }
    this.#bytes = all
    if (all.length > this.#question.maxHeadBytes) this.#end.failed('the head of the answer is too large')
  }

  onEnd(): void {
    this.#end.failed('the connection ended before the answer')
  }

  onDrain(): void {}

  onClose(status: number): void {
    this.#end.failed(`the connection ended before the answer: ${this.#question.errorText(status)}`)
  }
}

/** @param refusal the flag by which the destination's node says that it is the one who refused */
export function judgeStatus(
  status: number,
  refusal: string | undefined,
  expected: readonly StatusRange[],
  end: ProbeEnd,
): void {
  if (refusal === 'RBAC') end.denied('policy of the destination denies it')
  else if (expected.some(({ from, to }) => status >= from && status <= to)) end.passed()
  else end.failed(`answered ${status}`)
}
