/**
 * The request of an exchange of HTTP/1.1, from its head to its last byte: what it is, as policy and routing see it; its body
 * sent on as it is read, or held as a whole where it is translated; its tries. Reads from the client only while there is
 * somewhere to send to. What becomes of the answer is `http1-exchange.ts`'s.
 */
import { REFUSAL, type Refusal } from '#contract'
import type { ByteStream, Head } from '#http'
import type { ClientConnection } from './client-connection.ts'
import { type Connecting, Exchange } from './exchange.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { HeldBody, OwedBodies, requestRefusal } from './held-body.ts'
import type { HttpPipeline } from './http-exchange.ts'
import { asksTunnel, nameTarget, renderHead, renderHeadOfCopy } from './http1-request-head.ts'
import { isMeshHeader } from './mesh-headers.ts'
import type { Pod } from './pod.ts'
import { RelayedRequest } from './relayed-request.ts'
import type { Services } from './services.ts'
import { fieldsOfHead } from './tap-text.ts'
import type { UpstreamConnection } from './upstream.ts'

export abstract class Http1RequestHalf extends Exchange<UpstreamConnection> {
  readonly version = 'HTTP/1.1'
  protected readonly connection: ClientConnection
  protected readonly stream: ByteStream
  protected readonly head: Head
  /** Of both directions. */
  protected readonly owed = new OwedBodies()
  /** The request asks for bytes both ways behind its answer. */
  protected asksTunnel = false
  readonly #request: RelayedRequest
  /** Its body, while it is held to be translated. */
  #held: HeldBody | undefined
  /** Length of the translated body. */
  #translatedLength: number | undefined

  constructor(
    services: Services,
    pod: Pod,
    pipeline: HttpPipeline,
    clientAddress: string,
    connection: ClientConnection,
  ) {
    super(services, pod, pipeline, clientAddress)
    this.connection = connection
    this.stream = connection.stream
    this.head = connection.head
    this.#request = new RelayedRequest(services.limits.maxHeadBytes, services.limits.maxHeaders)
  }

  /** The answer of an exchange that cannot go on, or its end when that has begun. */
  protected abstract fail(refusal: Refusal, why: string): void
  /** The connection ends with the answer. */
  protected abstract closeWithAnswer(): void

  // ── What the request is ───────────────────────────────────────────────────────────────────────

  /** What a client says in the mesh's own name counts for nothing. */
  header(lowerCaseName: string): string | undefined {
    return isMeshHeader(lowerCaseName) ? undefined : this.head.get(lowerCaseName)
  }

  requestFields(): readonly string[] {
    return this.method === '' ? [] : fieldsOfHead(this.head)
  }

  requestId(): string {
    const { head } = this
    return head.requestIdIndex < 0 ? '' : head.value(head.requestIdIndex)
  }

  protected givenTraceparent(): string {
    const { head } = this
    return head.traceparentIndex < 0 ? '' : head.value(head.traceparentIndex)
  }

  protected hasB3(): boolean {
    return this.head.hasB3
  }

  // ── Its way in ────────────────────────────────────────────────────────────────────────────────

  /** All of it has been read. */
  get requestDone(): boolean {
    return this.#request.done
  }

  /** Never read whole: nothing of the one before may show in its answer or log line. */
  protected beginUnread(started: number): void {
    this.begin(started)
    this.#request.beginUnread()
  }

  /** The head is read; decides where it goes, and sends it there, or answers it. `begin` was called. */
  protected start(now: number, bytes: Buffer, bodyStart: number, end: number): void {
    const { head } = this
    this.asksTunnel = false
    this.method = head.method
    nameTarget(head, this)
    const request = this.#request
    request.begin(head.chunked, head.contentLength)

    const choice = this.admit(now)
    if (choice.kind !== 'forward') {
      if (bodyStart < end) this.connection.hold(bytes, bodyStart, end)
      if (choice.kind === 'refuse' && choice.close === true) this.closeWithAnswer()
      this.answerInstead(choice)
      return
    }
    if (choice.decision?.versions !== undefined) {
      const how = this.beginVersion(choice, !request.done, head.contentLength)
      if (how === 'hold') {
        this.#beginHolding(choice.decision.versions.maxBodyBytes, bytes, bodyStart, end)
        return
      }
      if (how !== 'pass') {
        if (bodyStart < end) this.connection.hold(bytes, bodyStart, end)
        this.answerInstead(how)
        return
      }
    }
    const text = this.#render(choice)
    if (choice.decision !== undefined) this.startTimers(choice.decision)

    // Body bytes that came with the head travel with it.
    const hasBody = !request.done
    if (hasBody) this.connection.within(this.services.limits.bodyIdleTimeoutMs)
    const stop = request.gather(text, this.copy, bytes, bodyStart, end)
    if (hasBody) {
      if (!this.#bodyRead(bytes, stop, end)) return
    } else {
      if (bodyStart < end) this.connection.hold(bytes, bodyStart, end)
      if (this.copy !== undefined) this.#sendCopy()
    }
    this.sendFirst(choice)
  }

  /** More of what the client sends while it is served. */
  protected requestBytes(bytes: Buffer, length: number): void {
    if (this.#request.done) this.connection.hold(bytes, 0, length)
    else if (this.#held !== undefined) this.#holdBody(this.#held, bytes, 0, length)
    else if (this.upstream === undefined) this.connection.hold(bytes, 0, length)
    else this.#readBody(bytes, 0, length)
  }

  #readBody(bytes: Buffer, start: number, end: number): void {
    this.connection.within(this.services.limits.bodyIdleTimeoutMs)
    const stop = this.#request.read(bytes, start, end)
    // The write may have found the upstream gone, and ended the exchange.
    if (!this.inProgress()) return
    if (!this.#bodyRead(bytes, stop, end)) return
    if ((this.upstream?.stream.pendingWrites ?? 0) > 0) this.stream.pause()
  }

  /** What was read of the body, up to `stop`; false when that ended the exchange. */
  #bodyRead(bytes: Buffer, stop: number, end: number): boolean {
    const request = this.#request
    if (request.problem !== '') {
      this.fail(REFUSAL.malformed, `request body: ${request.problem}`)
      return false
    }
    if (request.done) {
      this.#allRead(bytes, stop, end)
      if (this.copy !== undefined) this.#sendCopy()
    }
    return true
  }

  /** What comes behind it waits for its turn. */
  #allRead(bytes: Buffer, stop: number, end: number): void {
    this.connection.untimed()
    this.bytesIn += this.#request.received
    if (stop < end) this.connection.hold(bytes, stop, end)
  }

  /** To its mirrors: now that it is known to be one. What becomes a tunnel is no request alone. */
  #sendCopy(): void {
    if (!this.asksTunnel) this.sendCopy(renderHeadOfCopy(this.services, this, this.head))
  }

  #render(target: ExchangeTarget): string {
    const { head } = this
    this.asksTunnel = asksTunnel(head)
    const traceparent = this.joinTrace(target)
    const length = this.#translatedLength
    return renderHead(this.services, this, head, target, traceparent, this.traced, this.asksTunnel, length)
  }

  // ── A body that is translated ─────────────────────────────────────────────────────────────────

  #beginHolding(maxBytes: number, bytes: Buffer, start: number, end: number): void {
    const { head } = this
    const held = new HeldBody(this.pod.held, maxBytes, head.contentLength)
    this.#held = held
    this.owed.add(held)
    // Nothing is sent on before all of it is here: the client is told to go on by us (RFC 9110 section 10.1.1).
    if (head.expectContinue && head.minor === 1 && start === end) this.stream.writeText('HTTP/1.1 100 Continue\r\n\r\n')
    this.#holdBody(held, bytes, start, end)
  }

  #holdBody(held: HeldBody, bytes: Buffer, start: number, end: number): void {
    const request = this.#request
    this.connection.within(this.services.limits.bodyIdleTimeoutMs)
    const stop = request.readInto(held, bytes, start, end)
    if (request.problem !== '') this.fail(REFUSAL.malformed, `request body: ${request.problem}`)
    else if (held.problem !== undefined) this.refuse(...requestRefusal(held.problem))
    else if (!request.done) this.stream.resume()
    else {
      this.#allRead(bytes, stop, end)
      this.#sendHeld(held)
    }
  }

  #sendHeld(held: HeldBody): void {
    const { target } = this
    this.#held = undefined
    // Mirrors get what the client sent: which version they speak is their own matter.
    if (this.copy !== undefined) held.copyTo(this.copy)
    const body = held.translate(this.versioned?.translated?.version.requestBody ?? [])
    if (!Buffer.isBuffer(body)) {
      this.refuse(...requestRefusal(body))
      return
    }
    if (target === undefined) return
    this.#translatedLength = body.length
    this.#request.gatherWhole(this.#render(target), body)
    if (this.copy !== undefined) this.#sendCopy()
    if (target.decision !== undefined) this.startTimers(target.decision)
    this.sendFirst(target)
  }

  // ── Its way out: tries ────────────────────────────────────────────────────────────────────────

  protected holdBody(): void {
    if (!this.#request.done) this.stream.pause()
  }

  protected reserve({ flow, pool, speaks }: ExchangeTarget): boolean {
    return flow === undefined || (speaks === 'HTTP/2' && pool.sessions.joinable) || flow.takeConnection()
  }

  protected ready({ pool, speaks }: ExchangeTarget): UpstreamConnection | undefined {
    return speaks === 'HTTP/2' ? pool.bridge(pool.sessions.take()) : pool.idle()
  }

  protected connect({ pool, flow, speaks }: ExchangeTarget, done: Connecting<UpstreamConnection>): void {
    if (speaks === 'HTTP/2') {
      pool.sessions.connect(flow, (session, status, error) => done(pool.bridge(session), status, error))
      return
    }
    pool.connect((connection, status, error) => {
      flow?.connected(connection)
      done(connection, status, error)
    })
  }

  protected giveBack(upstream: UpstreamConnection): void {
    upstream.release(this.services.now())
  }

  protected letGo(upstream: UpstreamConnection, reusable: boolean): void {
    this.#request.detach()
    if (reusable) upstream.release(this.services.now())
    else upstream.discard()
  }

  protected repeatable(): boolean {
    return this.#request.repeatable
  }

  protected renderAgain(next: ExchangeTarget): void {
    this.#request.replaceHead(this.#render(next))
  }

  /** Sends what is there, and lets the client send the rest. */
  protected sendOn(upstream: UpstreamConnection): void {
    this.#request.sendOn(upstream.stream, this.target?.decision?.retry !== undefined)
    if (this.#request.done || upstream.stream.closed) return
    const held = this.connection.takeHeld()
    if (held !== undefined) this.#readBody(held, 0, held.length)
    if (this.connection.holdsNothing && upstream.stream.pendingWrites === 0) this.stream.resume()
  }

  /** Sends the same again: the connection was lost, not the request. */
  protected sendSame(target: ExchangeTarget): void {
    this.#request.rewind()
    this.resend(target)
  }

  /** Its answer is here: it is not sent again. */
  protected keepNoMore(): void {
    this.#request.keepNoMore()
  }

  protected override endExchange(): void {
    super.endExchange()
    this.#held = undefined
    this.#translatedLength = undefined
    this.#request.forget()
    if (this.stream.pendingWrites === 0 || this.stream.closed) this.owed.pay()
  }
}
