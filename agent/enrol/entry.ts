/** Where a pod stands on its way into the mesh or out of it: what is wished for, what is there, and how it went. */
import type { EnrolledPod } from './enrolled-pod.ts'
import { PodWatch } from './pod-watch.ts'
import { type EnrolmentWish, sameExclusions } from './wish.ts'

export type EnrolmentState = 'enrolling' | 'enrolled' | 'failed' | 'draining'

export interface EnrolmentStatus {
  readonly uid: string
  readonly state: EnrolmentState
  readonly detail: string
  /** ms since the epoch; 0 for never. */
  readonly verifiedAt: number
  readonly repairs: number
  /** The rules of its quarantine are in. */
  readonly isCutOff: boolean
}

export interface Entry {
  wish: EnrolmentWish | undefined
  pod: EnrolledPod | undefined
  state: EnrolmentState
  detail: string
  failures: number
  retry: NodeJS.Timeout | undefined
  readonly watch: PodWatch
  /** Ends the wait for the last connections. */
  cutDrain: (() => void) | undefined
}

export function workloadOf({ namespace, name }: EnrolmentWish): string {
  return `${namespace}/${name}`
}

export function newEntry(): Entry {
  return {
    wish: undefined,
    pod: undefined,
    state: 'enrolling',
    detail: '',
    failures: 0,
    retry: undefined,
    watch: new PodWatch(),
    cutDrain: undefined,
  }
}

export function statusOf(uid: string, { state, detail, watch, pod }: Entry): EnrolmentStatus {
  const isCutOff = pod?.exclusions.quarantine !== undefined && state === 'enrolled'
  return { uid, state, detail, verifiedAt: watch.verifiedAt, repairs: watch.repairs, isCutOff }
}

export function isAsWished({ wish, pod, state }: Entry): boolean {
  return (
    wish !== undefined &&
    pod !== undefined &&
    state === 'enrolled' &&
    pod.path === wish.netns &&
    pod.wish.serviceAccount === wish.serviceAccount &&
    sameExclusions(pod.exclusions, wish)
  )
}

export function isSameWish(a: EnrolmentWish | undefined, b: EnrolmentWish | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.netns === b.netns && a.serviceAccount === b.serviceAccount && sameExclusions(a, b)
}
