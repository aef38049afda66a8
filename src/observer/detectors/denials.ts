/** Requests that policies refuse and did not refuse before, with the change of a policy that came before that. */
import type { Detected } from '../detected.ts'
import { namespaceIn } from '../fair-share.ts'
import type { LookHistory } from '../look-history.ts'
import { keyOf, secondsOf } from '../look-history.ts'
import type { NodeLook, PolicyChange } from '../node-look.ts'
import { beginning, MIN_REQUESTS, type PairSum, pairName, sumPairs } from '../recent-traffic.ts'
import { durationWords, percent, placeWords, tapCommand } from '../words.ts'

/** As for failures: noticed by a user; and once told, down to less. */
export const DENIED_SHARE = 0.05
export const STILL_DENIED_SHARE = 0.02
/** So many times what it was before has begun anew. */
const JUMP_FACTOR = 3
const CRITICAL_SHARE = 0.2

export function detectDenials(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  const before = sumPairs(history.base)
  const found = [...sumPairs(history.recent)].flatMap(([name, pair]) => {
    const { requests, denied } = pair
    const told = history.told('policy-denies', name)
    const least = told === undefined ? DENIED_SHARE : STILL_DENIED_SHARE
    if (requests < MIN_REQUESTS || denied < requests * least) return []
    return [finding(history, last, name, pair, before.get(name))]
  })
  return oncePerChange(found)
}

/** A change that refuses many is one cause: it is told of what it refuses most, and of the others there. */
function oncePerChange(found: readonly Detected[]): readonly Detected[] {
  return [...Map.groupBy(found, ({ change }) => change)].flatMap(([change, group]) => {
    const [first, ...others] = group.toSorted((a, b) => b.hurt - a.hurt)
    if (change === undefined || first === undefined) return group
    const follows = [keyOf('policy-denies', first.subject)]
    return [first, ...others.map((one) => ({ ...one, follows }))]
  })
}

function finding(
  history: LookHistory,
  last: NodeLook,
  name: string,
  pair: PairSum,
  before: PairSum | undefined,
): Detected {
  const { source, target, requests, denied } = pair
  const told = history.told('policy-denies', name)
  const first = beginning(history.looks, name, (sum) => sum.denied >= sum.requests * STILL_DENIED_SHARE)
  const sinceMs = told?.sinceMs ?? history.looks[first]?.atMs ?? last.atMs
  const change = told?.change ?? changeBefore(history, first, name)
  const isKnown = before !== undefined && before.requests >= MIN_REQUESTS
  const hasJumped = isKnown && denied / requests >= JUMP_FACTOR * (before.denied / before.requests)
  // What has been refused since the first look may be meant so.
  const hasBegun = change !== undefined || hasJumped || (told !== undefined && told.severity !== 'info')
  const window = durationWords(secondsOf(history.recent) * 1000)
  const after = change === undefined ? '' : `, since ${change.policy} was ${change.change}`
  return {
    kind: 'policy-denies',
    severity: !hasBegun ? 'info' : denied / requests >= CRITICAL_SHARE ? 'critical' : 'warning',
    subject: name,
    says: `${percent(denied, requests)} of the requests from ${placeWords(source)} to ${placeWords(target)} are refused by policy${after}`,
    evidence: [
      `${denied} of ${requests} requests in the last ${window} got 403 or were reset (RBAC)`,
      ...(isKnown ? [`${percent(before.denied, before.requests)} of ${before.requests} before that`] : []),
      ...(hasBegun ? [] : ['It has been so since the agent first looked, so it may be meant']),
      ...(change === undefined
        ? []
        : [`${change.policy} was ${change.change} at ${new Date(change.atMs).toISOString()}`]),
    ],
    next: tapCommand(source, target, '--flags RBAC'),
    sinceMs,
    hurt: denied,
    ...(change === undefined ? {} : { change }),
  }
}

/** The last change between the last look in which the pair was not refused, if there is any, and the first in which it was. */
function changeBefore({ looks, policyChanges }: LookHistory, first: number, name: string): PolicyChange | undefined {
  const untilMs = looks[first]?.atMs ?? 0
  const good = looks.slice(0, first).findLast(({ edges }) => edges.some(({ edge }) => pairName(edge) === name))
  const near = policyChanges.filter(({ atMs }) => atMs <= untilMs && atMs >= (good?.atMs ?? 0))
  const [, target = ''] = name.split(' -> ')
  const namespace = target.split('/')[0] ?? ''
  // That of another namespace cannot have refused anything here, however often its owner changes it.
  return (
    near.findLast(({ policy }) => namespaceIn(policy) === namespace) ?? near.findLast(({ isMeshWide }) => isMeshWide)
  )
}
