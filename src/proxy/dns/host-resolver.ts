/**
 * Addresses of hosts outside the cluster, for those who connect to them: asked of the pod's name servers, through its own
 * namespace, kept per pod for as long as the answer says. Bounded; what no longer can be asked is served from memory.
 */
import type { DnsSettings } from '#contract'
import { nameServersFor, newQuery, recordsOf } from '#dns'
import type { Snapshot } from '#mesh'
import type { Pod } from '../pod.ts'
import { type Transport, UpstreamQuery } from './upstream.ts'

/** Names kept of one pod; beyond it the table starts over. */
const MAX_NAMES = 512
const MAX_ADDRESSES = 64
/** Names of one pod that are being asked for, each in two queries with a socket of their own; beyond it nobody knows. */
const MAX_ASKING = 64
const MIN_TTL_MS = 1_000
const MAX_TTL_MS = 300_000
/** After a failure nobody is asked for so long. */
const RETRY_MS = 2_000

export interface ResolverHost {
  readonly snapshot: Snapshot
  /** Monotonic milliseconds. */
  now(): number
}

/** Of one pod. */
class Names {
  readonly known = new Map<string, Known>()
  asking = 0
}

interface Known {
  addresses: readonly string[]
  untilMs: number
  /** Which address is next. */
  turn: number
  waiting: ((addresses: readonly string[]) => void)[] | undefined
}

export class HostResolver {
  readonly #host: ResolverHost
  readonly #settings: DnsSettings
  readonly #known = new WeakMap<Pod, Names>()

  constructor(host: ResolverHost, settings: DnsSettings) {
    this.#host = host
    this.#settings = settings
  }

  /** Calls back once, perhaps at once; the first is to be tried first. Empty: there is none, or nobody knows. */
  resolve(pod: Pod, name: string, done: (addresses: readonly string[]) => void): void {
    let table = this.#known.get(pod)
    if (table === undefined) {
      table = new Names()
      this.#known.set(pod, table)
    }
    let known = table.known.get(name)
    if (known === undefined) {
      if (table.asking >= MAX_ASKING) {
        done([])
        return
      }
      if (table.known.size >= MAX_NAMES) table.known.clear()
      known = { addresses: [], untilMs: Number.NEGATIVE_INFINITY, turn: 0, waiting: undefined }
      table.known.set(name, known)
    }
    if (known.waiting !== undefined) known.waiting.push((addresses) => done(rotated(addresses, known.turn++)))
    else if (this.#host.now() < known.untilMs || table.asking >= MAX_ASKING) {
      done(rotated(known.addresses, known.turn++))
    } else {
      known.waiting = [(addresses) => done(rotated(addresses, known.turn++))]
      table.asking++
      this.#ask(pod, name, known, table)
    }
  }

  #ask(pod: Pod, name: string, known: Known, names: Names): void {
    const found: string[] = []
    let left = 2
    let ttlMs = MAX_TTL_MS
    let failed = false
    const told = (answer: Answer | undefined): void => {
      if (answer === undefined) failed = true
      else {
        found.push(...answer.addresses)
        if (answer.addresses.length > 0) ttlMs = Math.min(ttlMs, answer.ttlMs)
      }
      if (--left > 0) return
      names.asking--
      if (found.length > 0 || !failed) {
        known.addresses = found.slice(0, MAX_ADDRESSES)
        known.untilMs = this.#host.now() + (found.length > 0 ? Math.max(ttlMs, MIN_TTL_MS) : RETRY_MS)
      } else known.untilMs = this.#host.now() + RETRY_MS
      const { waiting = [] } = known
      known.waiting = undefined
      for (const tell of waiting) tell(known.addresses)
    }
    for (const type of ['A', 'AAAA'] as const) this.#askType(pod, name, type, 'udp', told)
  }

  #askType(
    pod: Pod,
    name: string,
    type: 'A' | 'AAAA',
    over: Transport,
    told: (answer: Answer | undefined) => void,
  ): void {
    const query = newQuery(name, type)
    if (query === undefined) {
      queueMicrotask(() => told(undefined))
      return
    }
    const servers = nameServersFor(this.#host.snapshot, this.#settings, pod.workload)
    new UpstreamQuery(pod, servers, query, over, (reply) => {
      const records = reply === undefined ? undefined : recordsOf(reply)
      if (records?.isTruncated === true && over === 'udp') this.#askType(pod, name, type, 'tcp', told)
      else if (records === undefined || (records.rcode !== 0 && records.rcode !== NXDOMAIN)) told(undefined)
      else told(readAnswers(records.answers, type))
    })
  }
}

const NXDOMAIN = 3

interface Answer {
  readonly addresses: readonly string[]
  readonly ttlMs: number
}

type Records = NonNullable<ReturnType<typeof recordsOf>>['answers']

function readAnswers(answers: Records, type: string): Answer {
  let ttlMs = MAX_TTL_MS
  const addresses: string[] = []
  for (const answer of answers) {
    if (answer.type !== 'A' && answer.type !== 'AAAA' && answer.type !== 'CNAME') continue
    ttlMs = Math.min(ttlMs, (answer.ttl ?? 0) * 1000)
    if (answer.type === type && isOutside(answer.data)) addresses.push(answer.data)
  }
  return { addresses, ttlMs }
}

/** A name server of somebody else's may not send pods to themselves, their neighbours on the link or a cloud's metadata. */
export function isOutside(address: string): boolean {
  if (!address.includes(':')) {
    const [first = 0, second = 0] = address.split('.').map(Number)
    return first !== 0 && first !== 127 && !(first === 169 && second === 254) && first < 224
  }
  const lower = address.toLowerCase()
  return !(/^fe[89ab]|^ff|^::(1|)$/.test(lower) || lower.startsWith('::ffff:') || lower.startsWith('0:0:0:0:0:'))
}

function rotated(addresses: readonly string[], turn: number): readonly string[] {
  if (addresses.length < 2) return addresses
  const start = turn % addresses.length
  return [...addresses.slice(start), ...addresses.slice(0, start)]
}
