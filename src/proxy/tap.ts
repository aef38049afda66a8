/**
 * Taps: what the proxy tells of requests and connections to those who look at them live. Nothing here exists while nobody
 * looks. What a tap may take is bounded, in events and in what is under way to the agent; traffic never waits for it.
 */
import { startTimer } from '#base'
import type { TapLoss, TapSpec } from '#contract'
import {
  type AccessEdge,
  type AccessEdgeDescription,
  type AccessRecord,
  renderLine,
  writeConnectionLine,
  writeRequestLine,
} from '#telemetry'
import type { HttpExchange } from './http-exchange.ts'
import { type OwnerOf, TapMatcher } from './tap-filter.ts'
import { shownAuthority, shownFields, shownPath } from './tap-text.ts'

export interface TapPort {
  /** Events of one tap, for the agent; `sent` is called when they have left. */
  send(id: number, events: readonly string[], lost: TapLoss, sent: () => void): void
  /** Monotonic, ms. */
  now(): number
  /** Since the epoch, ms. */
  time(): number
  ownerOf: OwnerOf
}

const FLUSH_MS = 50
const FLUSH_CHARS = 64 << 10
/** Of one tap, waiting and under way. */
const MAX_CHARS = 512 << 10
/** Of all taps together; the agent has more to do than to read them. */
const MAX_PER_SECOND = 2_000

/** So many a second; what was not used of one second is not saved for the next. */
class Rate {
  readonly #perSecond: number
  #left: number
  #at: number

  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond
    this.#left = perSecond
    this.#at = now
  }

  get isSpent(): boolean {
    return this.#left < 1
  }

  take(): void {
    this.#left--
  }

  refill(now: number): void {
    this.#left = Math.min(this.#perSecond, this.#left + ((now - this.#at) * this.#perSecond) / 1000)
    this.#at = now
  }
}

class Tap {
  readonly spec: TapSpec
  readonly matcher: TapMatcher
  readonly rate: Rate
  events: string[] = []
  /** Of `events`. */
  chars = 0
  /** Of what is on its way to the agent. */
  underWay = 0
  overRate = 0
  tooSlow = 0

  constructor(spec: TapSpec, ownerOf: OwnerOf, now: number) {
    this.spec = spec
    this.matcher = new TapMatcher(spec.filter, ownerOf)
    this.rate = new Rate(spec.maxPerSecond, now)
  }
}

export class Taps {
  readonly #port: TapPort
  readonly #taps = new Map<number, Tap>()
  readonly #rate: Rate
  readonly #edges = new WeakMap<AccessEdge, AccessEdgeDescription>()
  #timer: Disposable | undefined

  constructor(port: TapPort) {
    this.#port = port
    this.#rate = new Rate(MAX_PER_SECOND, port.now())
  }

  get size(): number {
    return this.#taps.size
  }

  /** Some tap tells header fields: answers keep theirs until they are told of. */
  get showsHeaders(): boolean {
    return [...this.#taps.values()].some(({ spec }) => spec.showHeaders)
  }

  open(id: number, spec: TapSpec): void {
    const tap = new Tap(spec, this.#port.ownerOf, this.#port.now())
    this.#taps.set(id, tap)
    this.#send(id, tap)
  }

  close(id: number): void {
    this.#taps.delete(id)
    if (this.#taps.size === 0) this.#stopTimer()
  }

  /** A request has ended. `record` may be changed. */
  request(access: AccessEdge, record: AccessRecord, exchange: HttpExchange): void {
    const edge = this.#describe(access)
    for (const [id, tap] of this.#taps) {
      if (!tap.matcher.request(edge, record, exchange) || !this.#mayTell(tap)) continue
      record.path = shownPath(exchange.path, exchange.query, tap.spec.showQueries)
      record.authority = shownAuthority(exchange.authority)
      const line = renderLine(writeRequestLine, access, record, this.#port.time())
      this.#tell(id, tap, eventOf('request', line, tap.spec.showHeaders ? headersOf(exchange, tap.spec) : ''))
    }
  }

  /** A connection of opaque bytes is relayed from now on (`opened`), or has ended. */
  connection(kind: 'opened' | 'connection', access: AccessEdge, record: AccessRecord): void {
    const edge = this.#describe(access)
    for (const [id, tap] of this.#taps) {
      const fits = kind === 'opened' ? tap.matcher.opened(edge, record) : tap.matcher.connection(edge, record)
      if (!fits || !this.#mayTell(tap)) continue
      this.#tell(id, tap, eventOf(kind, renderLine(writeConnectionLine, access, record, this.#port.time()), ''))
    }
  }

  #describe(access: AccessEdge): AccessEdgeDescription {
    let edge = this.#edges.get(access)
    if (edge === undefined) {
      edge = access.describe()
      this.#edges.set(access, edge)
    }
    return edge
  }

  /** Before it is rendered. What may not be told is counted. */
  #mayTell(tap: Tap): boolean {
    const now = this.#port.now()
    tap.rate.refill(now)
    this.#rate.refill(now)
    if (tap.rate.isSpent || this.#rate.isSpent) tap.overRate++
    else if (tap.chars + tap.underWay >= MAX_CHARS) tap.tooSlow++
    else {
      tap.rate.take()
      this.#rate.take()
      return true
    }
    this.#timer ??= startTimer(FLUSH_MS, () => this.#flush())
    return false
  }

  #tell(id: number, tap: Tap, event: string): void {
    tap.events.push(event)
    tap.chars += event.length
    if (tap.chars >= FLUSH_CHARS) this.#send(id, tap)
    else this.#timer ??= startTimer(FLUSH_MS, () => this.#flush())
  }

  #flush(): void {
    this.#timer = undefined
    for (const [id, tap] of this.#taps) if (tap.events.length + tap.overRate + tap.tooSlow > 0) this.#send(id, tap)
  }

  #send(id: number, tap: Tap): void {
    const { events, chars } = tap
    const lost = { rate: tap.overRate, slow: tap.tooSlow }
    tap.events = []
    tap.chars = 0
    tap.overRate = 0
    tap.tooSlow = 0
    tap.underWay += chars
    this.#port.send(id, events, lost, () => {
      tap.underWay -= chars
    })
  }

  #stopTimer(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }
}

/** A line of the access log as an event: `{` and `}` with its line feed come off it. */
function eventOf(kind: 'request' | 'connection' | 'opened', line: string, more: string): string {
  return `{"kind":"${kind}",${line.slice(1, -2)}${more}}`
}

/** As the client sent them, and as the application answered; the mesh's own answers have none. */
function headersOf(exchange: HttpExchange, { redact, showQueries }: TapSpec): string {
  const request = shownFields(exchange.requestFields(), redact, showQueries)
  const answer = shownFields(exchange.answerFields(), redact, showQueries)
  const cut = request.cut || answer.cut ? ',"headersCut":true' : ''
  return `,"requestHeaders":${request.json},"responseHeaders":${answer.json}${cut}`
}
