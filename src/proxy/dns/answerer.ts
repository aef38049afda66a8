/**
 * Queries of pods, of either transport: what the mesh knows is answered from the snapshot, an alias is followed, the
 * rest is asked upstream. Holds no more queries of one pod at a time than MAX_WAITING, whatever its clients do.
 */
import type { DnsSettings } from '#contract'
import {
  aliasRecord,
  nameServersFor,
  type Query,
  readQuery,
  recordsOf,
  renameQuery,
  renderFailure,
  renderReply,
  resolveName,
} from '#dns'
import type { Snapshot } from '#mesh'
import type { Metrics, ValueHandle } from '#telemetry'
import type { Pod } from '../pod.ts'
import { type Transport, UpstreamQuery } from './upstream.ts'

export interface AnswererHost {
  readonly snapshot: Snapshot
  readonly metrics: Metrics
}

/** Called once, with what to send, unless there is nothing to say. */
export type Respond = (reply: Buffer) => void

const MAX_WAITING = 128
const MAX_ALIASES = 8
const MAX_TCP_BYTES = 65_535

const OUTCOMES = ['answered', 'empty', 'forwarded', 'failed', 'refused', 'malformed', 'quarantined'] as const
type Outcome = (typeof OUTCOMES)[number]

export class Answerer {
  readonly #host: AnswererHost
  readonly #settings: DnsSettings
  readonly #counts: Readonly<Record<Outcome, ValueHandle>>
  readonly #waiting = new Map<Pod, Set<UpstreamQuery>>()

  constructor(host: AnswererHost, settings: DnsSettings) {
    this.#host = host
    this.#settings = settings
    const family = host.metrics.counter({
      name: 'weir_dns_queries_total',
      help: 'DNS queries of pods, by what became of them.',
      labels: ['outcome'],
    })
    const handles = OUTCOMES.map((outcome) => [outcome, family.handle({ outcome })] as const)
    this.#counts = Object.fromEntries(handles) as Record<Outcome, ValueHandle>
  }

  /** @returns false when there will be no reply */
  take(pod: Pod, bytes: Buffer, over: Transport, respond: Respond): boolean {
    const reading = readQuery(bytes)
    if (reading.kind !== 'query') {
      this.#counts.malformed.inc(1)
      if (reading.kind === 'drop') return false
      respond(reading.reply)
      return true
    }
    const { query } = reading
    // Names are a way out, too. At once, so that the application does not wait for what never comes.
    if (this.#host.snapshot.workload(pod.workload)?.quarantine !== undefined) {
      this.#counts.quarantined.inc(1)
      respond(renderFailure(query, 'REFUSED'))
      return true
    }
    this.#answer(pod, query, over, (outcome, reply) => {
      this.#counts[outcome].inc(1)
      respond(reply)
    })
    return true
  }

  #answer(pod: Pod, query: Query, over: Transport, respond: (outcome: Outcome, reply: Buffer) => void): void {
    const maxBytes = over === 'udp' ? query.maxUdpBytes : MAX_TCP_BYTES
    const aliases: ReturnType<typeof aliasRecord>[] = []
    const fail = (outcome: 'failed' | 'refused'): void => respond(outcome, renderFailure(query, 'SERVFAIL'))
    let meant = query
    for (;;) {
      const resolution = this.#resolve(pod, meant)
      if (resolution.kind === 'records') {
        const answers = [...aliases, ...shuffled(resolution.answers)]
        const reply = { rcode: 0, answers, additionals: resolution.additionals, authoritative: true }
        respond(resolution.answers.length > 0 ? 'answered' : 'empty', renderReply(query, reply, maxBytes))
        return
      }
      if (resolution.kind === 'forward') break
      const renamed = renameQuery(meant, resolution.target)
      if (renamed === undefined || aliases.length === MAX_ALIASES) {
        fail('failed')
        return
      }
      aliases.push(aliasRecord(meant, resolution.target))
      if (query.type === 'CNAME') {
        const reply = { rcode: 0, answers: aliases, additionals: [], authoritative: true }
        respond('answered', renderReply(query, reply, maxBytes))
        return
      }
      meant = renamed
    }
    const asked = meant
    const waits = this.#ask(pod, asked, over, (reply) => {
      if (reply === undefined) fail('failed')
      else if (aliases.length === 0) respond('forwarded', reply)
      else {
        const found = recordsOf(reply)
        if (found === undefined) {
          fail('failed')
          return
        }
        const answers = [...aliases, ...found.answers]
        const { rcode, isTruncated } = found
        const whole = { rcode, answers, additionals: [], authoritative: false }
        respond('forwarded', renderReply(query, whole, isTruncated ? 0 : maxBytes))
      }
    })
    if (!waits) fail('refused')
  }

  #resolve(pod: Pod, query: Query): ReturnType<typeof resolveName> {
    if (!query.isPlain) return { kind: 'forward' }
    const [namespace = ''] = pod.workload.split('/', 1)
    return resolveName(this.#host.snapshot, namespace, query.name, query.type)
  }

  /** @returns false when the pod has too many queries waiting */
  #ask(pod: Pod, query: Query, over: Transport, done: (reply: Buffer | undefined) => void): boolean {
    const waiting = this.#waiting.get(pod) ?? new Set()
    if (waiting.size >= MAX_WAITING) return false
    this.#waiting.set(pod, waiting)
    const asked = new UpstreamQuery(
      pod,
      nameServersFor(this.#host.snapshot, this.#settings, pod.workload),
      query,
      over,
      (reply) => {
        waiting.delete(asked)
        if (waiting.size === 0) this.#waiting.delete(pod)
        done(reply)
      },
    )
    waiting.add(asked)
    return true
  }

  /** The pod is gone: nobody waits for its answers. */
  forget(pod: Pod): void {
    for (const query of this.#waiting.get(pod) ?? []) query.cancel()
    this.#waiting.delete(pod)
  }
}

/** Clients take the first address that works: it should not always be the same. */
function shuffled<T>(records: readonly T[]): readonly T[] {
  const start = Math.floor(Math.random() * records.length)
  return [...records.slice(start), ...records.slice(0, start)]
}
