/** Pods that have opted in, and whose traffic does not go through the mesh. */
import type { Detected } from '../detected.ts'
import { type LookHistory, looksSince } from '../look-history.ts'

/** A pod that is on its way for so many looks has got stuck. */
const STUCK_LOOKS = 3

export function detectPods(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  return last.pods.flatMap(({ name, state, detail }): Detected[] => {
    if (state === 'enrolled' || state === 'draining') return []
    const looks = looksSince(history.looks, ({ pods }) => {
      return pods.some((pod) => pod.name === name && (pod.state === 'failed' || pod.state === 'enrolling'))
    })
    if (state === 'enrolling' && looks < STUCK_LOOKS) return []
    const why = detail.replace(`Pod ${name}: `, '')
    return [
      {
        kind: 'pod-not-enrolled',
        severity: 'critical',
        subject: name,
        says: `Pod ${name} has opted in and is not in the mesh: ${why === '' ? 'its enrolment does not come to an end' : why}`,
        evidence: ['What it sends is neither secured nor judged by policies; pods that demand mutual TLS refuse it'],
        next: `weir pods ${name}`,
        sinceMs: history.looks.at(-looks)?.atMs ?? last.atMs,
        hurt: 0,
      },
    ]
  })
}
