/** Pods of which no line of log comes: none at all, or none any more although they are asked as before. */
import type { Detected } from '../detected.ts'
import { type LookHistory, looksSince, RECENT_LOOKS } from '../look-history.ts'
import type { NodeLook, PodSample } from '../node-look.ts'
import { MIN_REQUESTS } from '../recent-traffic.ts'
import { durationWords } from '../words.ts'

/** For so many looks a pod may say nothing after it was enrolled: what starts slowly has said something by then. */
export const NEVER_LOOKS = 18
/** A pod whose log grew in so many of the looks before writes as a matter of course. */
export const USED_TO_WRITE_SHARE = 0.8
const BEFORE_LOOKS = 6

export function detectSilentPods(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  const here = last.pods.filter(isHere)
  return [
    ...neverWrote(history, last, here),
    ...here.filter(({ lastLogMs }) => lastLogMs !== 0).flatMap((pod) => fellSilent(history, last, pod)),
  ]
}

/** One finding for the pods of a workload: they are alike. */
function neverWrote(history: LookHistory, last: NodeLook, here: readonly PodSample[]): readonly Detected[] {
  const silent = here.flatMap(({ name, owner, lastLogMs }) => {
    if (lastLogMs !== 0) return []
    const looks = looksSince(history.looks, ({ pods }) =>
      pods.some((one) => one.name === name && isHere(one) && one.lastLogMs === 0),
    )
    return looks < NEVER_LOOKS ? [] : [{ name, owner, sinceMs: history.looks.at(-looks)?.atMs ?? last.atMs }]
  })
  return [...Map.groupBy(silent, ({ owner }) => owner)].map(([owner, pods]): Detected => {
    const asked = askedOf(history, owner)
    const names = pods.map(({ name }) => name)
    const named =
      names.length > MAX_NAMED
        ? `${names.slice(0, MAX_NAMED).join(', ')} and ${names.length - MAX_NAMED} more`
        : names.join(', ')
    return {
      kind: 'pod-silent',
      severity: 'info',
      subject: owner,
      says: `${names.length === 1 ? `Pod ${named} has` : `Pods ${named} have`} never written a line of log`,
      evidence: [asked > 0 ? `${owner} was asked ${asked} times lately` : `${owner} was not asked lately`],
      next: 'weir pods',
      sinceMs: history.told('pod-silent', owner)?.sinceMs ?? Math.min(...pods.map(({ sinceMs }) => sinceMs)),
      hurt: 0,
    }
  })
}

const MAX_NAMED = 3

function fellSilent(history: LookHistory, last: NodeLook, pod: PodSample): readonly Detected[] {
  const { name, owner, lastLogMs } = pod
  const told = history.told('pod-silent', name)
  const asked = askedOf(history, owner)
  if (lastLogMs === undefined || asked < MIN_REQUESTS) return []
  const recent = history.recent
  const began = recent[0]?.atMs ?? last.atMs
  if (recent.length < RECENT_LOOKS || lastLogMs >= began) return []
  if (told === undefined && !usedToWrite(history, name)) return []
  return [
    {
      kind: 'pod-silent',
      severity: 'warning',
      subject: name,
      says: `Pod ${name} writes no log any more, although its workload is asked as before`,
      evidence: [
        `Its last line is ${durationWords(last.atMs - lastLogMs)} old; before, it wrote all the time`,
        `Its workload was asked ${asked} times since`,
      ],
      next: `weir logs ${name}`,
      sinceMs: told?.sinceMs ?? lastLogMs,
      hurt: 0,
    },
  ]
}

function isHere({ state, isReady, lastLogMs }: PodSample): boolean {
  return state === 'enrolled' && isReady && lastLogMs !== undefined
}

/** Did its log grow from look to look, before the recent ones? */
function usedToWrite({ base }: LookHistory, name: string): boolean {
  const times = base.slice(-BEFORE_LOOKS - 1).map(({ pods }) => pods.find((pod) => pod.name === name)?.lastLogMs ?? 0)
  if (times.length <= BEFORE_LOOKS) return false
  const grown = times.slice(1).filter((time, at) => time > (times[at] ?? 0)).length
  return grown >= BEFORE_LOOKS * USED_TO_WRITE_SHARE
}

function askedOf({ recent }: LookHistory, workload: string): number {
  return recent.reduce(
    (sum, { edges }) =>
      sum + edges.reduce((of, { edge, requests }) => (edge.destination === workload ? of + requests : of), 0),
    0,
  )
}
