/** Pods that should be enrolled and are not, and why. */
import type { Enrolment } from '#mesh/compile'
import type { EnrolmentStatus } from '../enrol/entry.ts'
import type { PodTrouble } from './pod-events.ts'

export function enrolmentTroubles(
  wishes: readonly Enrolment[],
  states: readonly EnrolmentStatus[],
): readonly PodTrouble[] {
  const byUid = new Map(wishes.map((wish) => [wish.uid, wish]))
  return states.flatMap(({ uid, state, detail }) => {
    const wish = byUid.get(uid)
    if (state !== 'failed' || wish === undefined) return []
    return [{ uid, namespace: wish.namespace, name: wish.name, why: detail }]
  })
}
