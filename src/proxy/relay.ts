/**
 * Opaque TCP: bytes both ways, half-close kept, back-pressure at both ends: a reader that stalls pauses
 * the writer, so that at most one read is held in between.
 */
import type { ServerName, Verdict } from '#contract'
import { type ByteStream, detect, type StreamOwner } from '#http'
import type { ExchangeTarget } from './exchange-target.ts'
import type { Pipeline } from './pipeline.ts'
import type { HeldConnection, Pod } from './pod.ts'
import type { Services } from './services.ts'

class Side implements StreamOwner {
  readonly #relay: Relay
  readonly #client: boolean
  constructor(relay: Relay, client: boolean) {
    this.#relay = relay
    this.#client = client
  }
  onData(bytes: Buffer, length: number): void {
    this.#relay.moved(this.#client, bytes, length)
  }
  onEnd(): void {
    this.#relay.ended(this.#client)
  }
  onDrain(): void {
    this.#relay.drained(this.#client)
  }
  onClose(status: number): void {
    this.#relay.closed(this.#client, status)
  }
}

/** Nothing has moved for so long: perhaps somebody has gone unheard. */
const STILL_MS = 5_000
/** A long connection is in the metrics while it lasts; as often as Istio's. */
const TELL_MS = 5_000

export class Relay implements HeldConnection {
  readonly #services: Services
  readonly #pod: Pod
  readonly #pipeline: Pipeline
  readonly #clientAddress: string
  readonly #client: ByteStream
  readonly #target: ExchangeTarget
  #verdict: Verdict | undefined
  readonly #started: number
  #server: ByteStream | undefined
  #early: Buffer | undefined
  /** The client's first bytes while they may yet turn out to be an HTTP request. */
  #undecided: Buffer | undefined
  #clientEnded = false
  #lastMoved: number
  /** When what is paused was last asked whether its peer is still there. */
  #lastChecked: number
  #bytesIn = 0
  #bytesOut = 0
  /** Of those, in the metrics already. */
  #toldIn = 0
  #toldOut = 0
  #toldAt: number
  #over = false

  /** Takes over the client's stream; `early` was read by detection. */
  constructor(
    services: Services,
    pod: Pod,
    pipeline: Pipeline,
    clientAddress: string,
    client: ByteStream,
    target: ExchangeTarget,
    early: Buffer | undefined,
    clientEnded: boolean,
  ) {
    this.#services = services
    this.#pod = pod
    this.#pipeline = pipeline
    this.#clientAddress = clientAddress
    this.#client = client
    this.#target = target
    this.#verdict = pipeline.verdict
    this.#early = early
    if (early !== undefined && detect(early, 0, early.length) === 'more') this.#undecided = early
    this.#clientEnded = clientEnded
    this.#started = services.now()
    this.#lastMoved = this.#started
    this.#lastChecked = this.#started
    this.#toldAt = this.#started
    client.owner = new Side(this, true)
    client.pause()
    target.load.active++
    services.recorder.connectionOpened(pod, target, clientAddress)
    pod.connections.add(this)
  }

  /** Connects upstream, then moves bytes. */
  dial(): void {
    this.#target.pool.dialer.dial((status, server, error) => {
      if (server === undefined) {
        this.#end('UF', error === '' ? this.#services.errorText(status) : error)
        this.#client.reset()
      } else if (this.#over) server.close()
      else this.adopt(server)
    })
  }

  /** Goes on with a connection made already. */
  adopt(server: ByteStream): void {
    server.owner = new Side(this, false)
    this.#server = server
    const early = this.#early
    this.#early = undefined
    if (early !== undefined) {
      this.#bytesIn += early.length
      server.writeBytes(early)
    }
    if (this.#clientEnded) server.end()
    server.resume()
    if (server.pendingWrites === 0) this.#client.resume()
  }

  moved(fromClient: boolean, bytes: Buffer, length: number): void {
    this.#lastMoved = this.#services.now()
    const server = this.#server
    if (server === undefined) return
    if (fromClient) {
      if (this.#undecided !== undefined && this.#becomesRequest(this.#undecided, bytes, length)) return
      this.#bytesIn += length
      if (!server.writeSlice(bytes, 0, length)) this.#client.pause()
    } else {
      this.#bytesOut += length
      if (!this.#client.writeSlice(bytes, 0, length)) server.pause()
    }
  }

  /**
   * Detection gave up waiting, yet the bytes go on as an HTTP request: judged as opaque bytes it must
   * not reach the application, whose head would be read there as if the mesh had vouched for it.
   */
  #becomesRequest(begun: Buffer, bytes: Buffer, length: number): boolean {
    const all = Buffer.concat([begun, bytes.subarray(0, length)])
    const found = detect(all, 0, all.length)
    this.#undecided = found === 'more' ? all : undefined
    if (found !== 'http1') return false
    this.#cut('DPE', 'a request that began too slowly to be told from other protocols')
    return true
  }

  ended(client: boolean): void {
    if (client) {
      this.#clientEnded = true
      this.#server?.end()
    } else this.#client.end()
  }

  drained(client: boolean): void {
    if (client) this.#server?.resume()
    else this.#client.resume()
  }

  closed(client: boolean, status: number): void {
    if (this.#over) return
    const other = client ? this.#server : this.#client
    if (status === 0) {
      // Closed in order: both directions of this side are done; the other side finishes by itself.
      if (other !== undefined && !other.closed && !other.writeEnded) other.end()
      if (other === undefined || other.closed) this.#end('-', '')
      return
    }
    this.#end(client ? 'DC' : 'UC', this.#services.errorText(status))
    other?.reset()
  }

  #end(flag: 'UF' | 'UC' | 'DC' | '-' | 'RBAC' | 'SI' | 'DPE', why: string): void {
    if (this.#over) return
    this.#over = true
    this.#target.load.active--
    this.#pod.connections.delete(this)
    this.#tellMoved()
    this.#services.recorder.connectionClosed(this.#clientAddress, this.#target, this.#verdict, {
      flag,
      why,
      durationMs: this.#services.now() - this.#started,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      ...sniOutcome(this.#pipeline.sni),
      route: this.#pipeline.route,
    })
    this.#services.connectionClosed(this.#pod)
  }

  #tellMoved(): void {
    const bytesIn = this.#bytesIn - this.#toldIn
    const bytesOut = this.#bytesOut - this.#toldOut
    if (bytesIn === 0 && bytesOut === 0) return
    this.#toldIn = this.#bytesIn
    this.#toldOut = this.#bytesOut
    this.#services.recorder.connectionMoved(this.#pod, this.#target, bytesIn, bytesOut)
  }

  sweep(now: number): void {
    if (now - this.#toldAt >= TELL_MS) {
      this.#toldAt = now
      this.#tellMoved()
    }
    if (now - this.#lastMoved >= STILL_MS && now - this.#lastChecked >= STILL_MS) {
      this.#lastChecked = now
      this.#client.checkPaused()
      this.#server?.checkPaused()
      if (this.#over) return
    }
    const idleMs = this.#services.limits.tcpIdleTimeoutMs
    if (idleMs > 0 && now - this.#lastMoved > idleMs) {
      this.#end('SI', 'idle for too long')
      this.#client.close()
      this.#server?.close()
    }
  }

  rejudge(): void {
    const denial = this.#pipeline.tcpDenialNow(this.#target)
    if (denial === undefined) return
    this.#verdict = denial
    this.#cut('RBAC', `cut by a policy change: ${denial.reason}`)
  }

  #cut(flag: 'RBAC' | 'DC' | 'DPE', why: string): void {
    this.#end(flag, why)
    this.#client.reset()
    this.#server?.reset()
  }

  /** Opaque connections cannot be told to end: they last until the drain's own limit. */
  drain(): void {}

  abort(): void {
    this.#cut('DC', 'the pod is gone')
  }
}

/** For the log. */
export function sniOutcome(sni: ServerName): { readonly sni?: string } {
  return sni === undefined || sni === '' ? {} : { sni: sni ?? '(unreadable)' }
}
