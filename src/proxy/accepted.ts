/**
 * A connection just accepted, until it is known what it speaks. Incremental: a request line in many
 * packets is HTTP. A client that stays silent gets its upstream dialled meanwhile, so that a server
 * that speaks first is relayed at once, on any port, without declaration.
 */

import type { ResponseFlag } from '#contract'
import { type ByteStream, detect, mayBecomeRequest, readClientHello, type StreamOwner } from '#http'
import type { ExchangeTarget } from './exchange-target.ts'
import { HttpConnection } from './http-connection.ts'
import { Http2Connection } from './http2-connection.ts'
import type { Pipeline } from './pipeline.ts'
import type { HeldConnection, Pod } from './pod.ts'
import { Relay, sniOutcome } from './relay.ts'
import type { Services } from './services.ts'

/** A silent client's upstream is dialled after this: clients that speak first do so sooner. */
const SILENCE_MS = 15
/** Likewise where HTTP was spoken before, or is declared. */
const SILENCE_KNOWN_HTTP_MS = 60
/** An undecided beginning that no HTTP method begins with is opaque after this. */
const UNDECIDED_MS = 150
/** Connections that a pod may be opening when one more is opened in case its server speaks first. */
const MAX_SPECULATIVE = 64
const MAX_UNDECIDED_BYTES = 16384

export interface SpokenProtocols {
  /** Has HTTP been seen on this destination? */
  isHttp(key: string): boolean
  sawHttp(key: string): void
}

export class Accepted implements StreamOwner, HeldConnection {
  readonly #services: Services
  readonly #pod: Pod
  readonly #pipeline: Pipeline
  readonly #clientAddress: string
  readonly #spoken: SpokenProtocols
  readonly #key: string
  readonly #stream: ByteStream
  readonly #knownHttp: boolean
  readonly #since: number
  #bytes: Buffer | undefined
  #timer: NodeJS.Timeout | undefined
  #undecidedSince = false
  #server: ByteStream | undefined
  #target: ExchangeTarget | undefined
  #over = false
  #isHttp = false
  #isHttp2 = false
  /** HTTP is not looked for. */
  readonly #isOpaque: boolean

  constructor(
    services: Services,
    pod: Pod,
    pipeline: Pipeline,
    stream: ByteStream,
    clientAddress: string,
    spoken: SpokenProtocols,
  ) {
    this.#services = services
    this.#pod = pod
    this.#pipeline = pipeline
    this.#clientAddress = clientAddress
    this.#spoken = spoken
    this.#key = `${pipeline.original.address} ${pipeline.original.port}`
    this.#stream = stream
    stream.owner = this
    pod.connections.add(this)
    this.#since = services.now()
    const declared = pipeline.declared()
    this.#knownHttp = declared === 'http' || spoken.isHttp(this.#key)
    this.#isOpaque = declared === 'tls'
    if (declared === 'opaque') this.#relay(undefined, false)
    else {
      this.#timer = setTimeout(() => this.#stillSilent(), this.#knownHttp ? SILENCE_KNOWN_HTTP_MS : SILENCE_MS)
      this.#stream.resume()
    }
  }

  onData(bytes: Buffer, length: number): void {
    const all =
      this.#bytes === undefined ? bytes.subarray(0, length) : Buffer.concat([this.#bytes, bytes.subarray(0, length)])
    const found = this.#isOpaque ? 'other' : detect(all, 0, all.length)
    switch (found) {
      case 'http1':
      case 'http2':
        this.#http(this.#bytes === undefined ? Buffer.from(all) : all, found === 'http2')
        return
      case 'more':
        this.#bytes = this.#bytes === undefined ? Buffer.from(all) : all
        if (all.length > MAX_UNDECIDED_BYTES) this.#relay(all, false)
        else if (!this.#undecidedSince) this.#awaitMore()
        return
      default:
        this.#opaque(this.#bytes === undefined ? Buffer.from(all) : all)
    }
  }

  /** No HTTP; of TLS the whole ClientHello is awaited, for as long as any request head is. */
  #opaque(all: Buffer): void {
    const reading = readClientHello(all)
    if (reading.kind === 'more') {
      if (this.#pipeline.sni === undefined) {
        clearTimeout(this.#timer)
        this.#timer = setTimeout(() => this.#relay(this.#bytes, false), this.#services.limits.headTimeoutMs)
      }
      // Whatever cuts the reading short: what name it would have been is not certain.
      this.#pipeline.sni = null
      this.#bytes = all
      return
    }
    this.#pipeline.sni =
      reading.kind === 'hello' ? reading.serverName : reading.kind === 'unreadable' ? null : undefined
    this.#relay(all, false)
  }

  #awaitMore(): void {
    this.#undecidedSince = true
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#undecided(), UNDECIDED_MS)
  }

  #undecided(): void {
    this.#timer = undefined
    const begun = this.#bytes
    // What may still become a request is waited for as long as any request head is.
    if (begun !== undefined && mayBecomeRequest(begun, 0, begun.length)) {
      this.#timer = setTimeout(() => this.#relay(this.#bytes, false), this.#services.limits.headTimeoutMs)
    } else this.#relay(this.#bytes, false)
  }

  /** Time is over. What came while this process was held up is read first: timers run before sockets are polled. */
  #stillSilent(): void {
    this.#timer = undefined
    setImmediate(() => {
      if (!this.#over && this.#bytes === undefined) this.#silent()
    })
  }

  /** No byte yet: dial, and see whether the server speaks first. */
  #silent(): void {
    const choice = this.#pipeline.chooseTcp()
    // Where many wait to be connected already, what was asked for comes first.
    if (this.#pod.dialling > MAX_SPECULATIVE) {
      this.#timer = setTimeout(() => this.#stillSilent(), SILENCE_KNOWN_HTTP_MS)
      return
    }
    // Denied as opaque bytes, but perhaps not as a request: wait for the client's first word.
    if (choice.kind !== 'forward') {
      this.#timer = setTimeout(() => this.#relay(undefined, false), this.#services.limits.headTimeoutMs)
      return
    }
    this.#target = choice
    choice.pool.dialer.dial((status, server, error) => {
      if (server === undefined) {
        if (this.#over) return
        // An HTTP client that is slow to speak shall hear 503, or reach another endpoint.
        if (this.#knownHttp) {
          this.#target = undefined
          return
        }
        this.#refused(choice, 'UF', error === '' ? this.#services.errorText(status) : error)
        return
      }
      const denial = this.#pipeline.tcpDenialNow(choice)
      if (this.#over) {
        if (this.#isHttp) adopt(choice, server, this.#isHttp2)
        else server.close()
      } else if (denial !== undefined) {
        // A policy changed while it was dialled.
        server.close()
        this.#pipeline.verdict = denial
        this.#refused(choice, 'RBAC', denial.reason)
      } else {
        server.owner = new Probe(this)
        this.#server = server
        server.resume()
      }
    })
  }

  /** The server spoke first (or closed): it is not HTTP. */
  serverSpoke(bytes: Buffer | undefined, length: number): void {
    const server = this.#server
    const target = this.#target
    if (this.#over || server === undefined || target === undefined) return
    this.#server = undefined
    this.#finish()
    const denial = this.#bytes === undefined ? undefined : this.#pipeline.tcpDenialNow(target)
    if (denial !== undefined) {
      server.close()
      this.#pipeline.verdict = denial
      this.#refused(target, 'RBAC', denial.reason)
      return
    }
    const relay = this.#makeRelay(target, this.#bytes, false)
    relay.adopt(server)
    if (bytes !== undefined) relay.moved(false, bytes, length)
    else relay.ended(false)
  }

  serverClosed(): void {
    this.#server = undefined
    // The upstream gave up on a silent connection: pass that on as it is.
    if (this.#over || this.#bytes !== undefined) return
    this.#finish()
    this.#stream.close()
  }

  #makeRelay(target: ExchangeTarget, early: Buffer | undefined, clientEnded: boolean): Relay {
    return new Relay(
      this.#services,
      this.#pod,
      this.#pipeline,
      this.#clientAddress,
      this.#stream,
      target,
      early,
      clientEnded,
    )
  }

  #http(bytes: Buffer, http2: boolean): void {
    this.#isHttp = true
    this.#isHttp2 = http2
    const server = this.#server
    this.#server = undefined
    this.#finish()
    // Dialled in case the server speaks first: it will serve this request, or another one.
    if (server !== undefined && this.#target !== undefined) adopt(this.#target, server, http2)
    this.#spoken.sawHttp(this.#key)
    const Connection = http2 ? Http2Connection : HttpConnection
    new Connection(this.#services, this.#pod, this.#stream, this.#pipeline, this.#clientAddress).adopt(bytes)
  }

  #relay(early: Buffer | undefined, clientEnded: boolean): void {
    const server = this.#server
    this.#server = undefined
    const dialled = this.#target
    this.#finish()
    if (this.#stream.closed) return
    // Chosen while the client was silent: the name that it asks for may lead elsewhere.
    const stands = this.#pipeline.sni === undefined || !this.#pipeline.asksSni()
    if (server !== undefined && dialled !== undefined && stands && this.#pipeline.tcpDenialNow(dialled) === undefined) {
      this.#makeRelay(dialled, early, clientEnded).adopt(server)
      return
    }
    server?.close()
    const choice = this.#pipeline.chooseTcp()
    if (choice.kind === 'forward') this.#makeRelay(choice, early, clientEnded).dial()
    else {
      this.#refused(choice.target, choice.flag, choice.why, early?.length)
    }
  }

  #refused(target: ExchangeTarget | undefined, flag: ResponseFlag, why: string, bytesIn = 0): void {
    this.#finish()
    const { verdict, sni, route } = this.#pipeline
    const outcome = { flag, why, durationMs: 0, bytesIn, bytesOut: 0, ...sniOutcome(sni), route }
    this.#services.recorder.connectionRefused(this.#pod, this.#clientAddress, target, verdict, outcome)
    this.#stream.reset()
  }

  /** Detection is over, whatever follows. */
  #finish(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#pod.connections.delete(this)
    this.#server?.close()
    this.#server = undefined
  }

  onEnd(): void {
    this.#relay(this.#bytes, true)
  }

  onDrain(): void {}

  onClose(): void {
    if (!this.#over) this.#finish()
    this.#services.connectionClosed(this.#pod)
  }

  /** Both sides silent: as idle as an opaque connection. */
  sweep(now: number): void {
    const idleMs = this.#services.limits.tcpIdleTimeoutMs
    if (idleMs === 0 || now - this.#since < idleMs) return
    this.#finish()
    this.#stream.close()
  }

  rejudge(): void {
    if (this.#target === undefined || this.#pipeline.tcpDenialNow(this.#target) === undefined) return
    this.#server?.close()
  }

  drain(): void {}

  abort(): void {
    this.#stream.reset()
  }
}

/** A connection that was dialled before it was known what it is for will serve a request. */
function adopt({ pool, speaks }: ExchangeTarget, server: ByteStream, http2: boolean): void {
  if (speaks === 'HTTP/2' || (http2 && speaks === undefined)) pool.sessions.adopt(server)
  else pool.adopt(server)
}

/** Listens to a server while its client is still silent. */
class Probe implements StreamOwner {
  readonly #accepted: Accepted
  constructor(accepted: Accepted) {
    this.#accepted = accepted
  }
  onData(bytes: Buffer, length: number): void {
    this.#accepted.serverSpoke(bytes, length)
  }
  onEnd(): void {
    this.#accepted.serverSpoke(undefined, 0)
  }
  onDrain(): void {}
  onClose(): void {
    this.#accepted.serverClosed()
  }
}
