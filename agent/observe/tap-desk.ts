/**
 * The agent's side of taps: what readers ask is told to all proxies, and what these tell goes to the reader as it is. A
 * reader that is slow loses events, is told how many, and holds up nobody. Loaded with the first reader.
 */
import { startTimer } from '#base'
import type { ProxyToAgent, TapLoss, TapSpec } from '#contract'
import { ReaderOutput } from '#logs'
import type { Reading, ReadingHandlers, TapQuery, TapReading } from '../admin/backend.ts'
import type { TapSettings } from '../config/tap.ts'

export interface TappedProxies {
  onTapped: (proxyId: number, told: Extract<ProxyToAgent, { type: 'tapped' }>) => void
  /** Ids of the proxies that are told of it now; those that are started later are, too. */
  openTap(id: number, spec: TapSpec): readonly number[]
  closeTap(id: number): void
}

const MAX_TAPS = 16
/** Characters that wait for one reader, besides four frames under way. */
const MAX_WAITING = 512 << 10
/** Of one event: a request line and two heads, with all their escapes. */
const MAX_EVENT_CHARS = 256 << 10
/** A proxy that has not answered by then is not waited for. */
const LIVE_MS = 2_000

interface OpenTap {
  readonly output: ReaderOutput
  readonly handlers: ReadingHandlers
  /** Proxies that have not yet said that they look. */
  readonly awaited: Set<number>
  readonly late: Disposable
  isLive: boolean
  /** Events until it ends; Infinity where there is no limit. */
  left: number
}

export class TapDesk implements TapReading {
  readonly #proxies: TappedProxies
  readonly #node: string
  readonly #settings: TapSettings
  readonly #taps = new Map<number, OpenTap>()
  #lastId = 0

  constructor(proxies: TappedProxies, node: string, settings: TapSettings) {
    this.#proxies = proxies
    this.#node = node
    this.#settings = settings
    proxies.onTapped = (proxyId, { id, events, lost }) => this.#told(proxyId, id, events, lost)
  }

  open({ filter, showHeaders, limit, maxPerSecond }: TapQuery, handlers: ReadingHandlers): Reading {
    if (this.#taps.size >= MAX_TAPS) {
      handlers.ended(`There are ${MAX_TAPS} taps already, as many as there may be; end one of them`)
      return { acknowledge: () => {}, close: () => {} }
    }
    const id = ++this.#lastId
    const { redact, showQueries } = this.#settings
    const output = new ReaderOutput({ send: handlers.frame, maxWaiting: MAX_WAITING, lostRecord: lostSlow })
    const awaited = new Set(this.#proxies.openTap(id, { filter, showHeaders, showQueries, redact, maxPerSecond }))
    const late = startTimer(LIVE_MS, () => this.#live(id))
    const left = limit === 0 ? Number.POSITIVE_INFINITY : limit
    this.#taps.set(id, { output, handlers, awaited, late, isLive: false, left })
    if (awaited.size === 0) this.#live(id)
    return {
      acknowledge: () => {
        output.acknowledge()
        output.flush()
      },
      close: () => {
        this.#close(id)
        output.end()
      },
    }
  }

  /** From now on nothing is missed. */
  #live(id: number): void {
    const tap = this.#taps.get(id)
    if (tap === undefined || tap.isLive) return
    tap.isLive = true
    tap.late[Symbol.dispose]()
    tap.output.offer(JSON.stringify({ kind: 'live', node: this.#node }))
    tap.output.flush()
  }

  #told(proxyId: number, id: number, events: readonly string[], lost: TapLoss): void {
    const tap = this.#taps.get(id)
    if (tap === undefined) return
    const { output, awaited } = tap
    if (awaited.delete(proxyId) && awaited.size === 0) this.#live(id)
    for (const event of events) {
      // What no proxy of ours says is not passed on.
      if (typeof event !== 'string' || event.length > MAX_EVENT_CHARS || event.includes('\n')) continue
      output.offer(event)
      tap.left--
      if (tap.left === 0) {
        this.#close(id)
        void output.finish().then(() => tap.handlers.ended(''))
        return
      }
    }
    if (lost.slow > 0) output.offer(lostSlow(lost.slow))
    if (lost.rate > 0) output.offer(lostEvents(lost.rate, 'rate'))
    output.flush()
  }

  #close(id: number): void {
    const tap = this.#taps.get(id)
    if (tap === undefined) return
    this.#taps.delete(id)
    tap.late[Symbol.dispose]()
    this.#proxies.closeTap(id)
  }
}

function lostSlow(count: number): string {
  return lostEvents(count, 'slow')
}

function lostEvents(events: number, why: keyof TapLoss): string {
  return JSON.stringify({ kind: 'lost', events, why })
}
