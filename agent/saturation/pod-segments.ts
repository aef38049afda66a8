/** TCP segments of the enrolled pods: each has a network stack, with counters, of its own. */
import { readFileSync } from 'node:fs'
import { withNetns } from '#linux'
import { readTcpSegments, type TcpSegments } from './proc-facts.ts'

export interface PodCounters {
  /** `namespace/name`. */
  readonly pod: string
  readonly segments: TcpSegments
}

/** Pods that are gone while they are asked are left out. */
export function readPodSegments(
  pods: readonly { readonly pod: string; readonly netnsFd: number }[],
): readonly PodCounters[] {
  return pods.slice(0, MAX_PODS).flatMap(({ pod, netnsFd }) => {
    try {
      // The thread's own, since it is the thread that is in there.
      const segments = withNetns(netnsFd, () => readTcpSegments(readFileSync('/proc/thread-self/net/snmp', 'latin1')))
      return segments === undefined ? [] : [{ pod, segments }]
    } catch {
      return []
    }
  })
}

/** Each costs about 0.1 ms. */
const MAX_PODS = 512

type Series = readonly (readonly [Readonly<Record<string, string>>, number])[]

/** By namespace of Kubernetes, which keeps the series few; pods that have gone still count. */
export class PodSegments {
  readonly #last = new Map<string, TcpSegments>()
  readonly #sums = new Map<string, { sent: number; retransmitted: number }>()

  add(counters: readonly PodCounters[]): { readonly sent: Series; readonly retransmitted: Series } {
    const present = new Set(counters.map(({ pod }) => pod))
    for (const pod of this.#last.keys()) if (!present.has(pod)) this.#last.delete(pod)
    for (const { pod, segments } of counters) {
      const [namespace = ''] = pod.split('/')
      const known = this.#sums.has(namespace) || this.#sums.size < MAX_NAMESPACES ? namespace : 'other'
      const sum = this.#sums.get(known) ?? { sent: 0, retransmitted: 0 }
      this.#sums.set(known, sum)
      const before = this.#last.get(pod)
      // A pod of the same name anew counts from 0.
      const isSame = before !== undefined && before.sent <= segments.sent
      sum.sent += segments.sent - (isSame ? before.sent : 0)
      sum.retransmitted += Math.max(0, segments.retransmitted - (isSame ? before.retransmitted : 0))
      this.#last.set(pod, segments)
    }
    const series = (value: 'sent' | 'retransmitted'): Series =>
      [...this.#sums].map(([namespace, sum]) => [{ namespace }, sum[value]])
    return { sent: series('sent'), retransmitted: series('retransmitted') }
  }
}

const MAX_NAMESPACES = 256
