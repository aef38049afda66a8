/**
 * What was found, in the order in which it is told: the worst first, and among equals what hurts the most requests. What
 * follows from something else that was found is told there, as evidence, and not again.
 */
import type { Finding, FindingSeverity } from '#contract'
import type { Detected } from './detected.ts'
import { fairShare, namespaceIn } from './fair-share.ts'
import { keyOf } from './look-history.ts'

/** More than anybody reads at 3 a.m.; the worst of each namespace come first. */
export const MAX_FINDINGS = 100
/** Of what follows from one cause so many are named. */
const MAX_CONSEQUENCES = 3

const ORDER: Readonly<Record<FindingSeverity, number>> = { critical: 0, warning: 1, info: 2 }

export function rankFindings(found: readonly Detected[]): readonly Finding[] {
  const byKey = new Map(found.map((one) => [keyOf(one.kind, one.subject), one]))
  const groups = new Map<Detected, Detected[]>()
  for (const one of byKey.values()) {
    const cause = causeOf(one, byKey)
    const group = groups.get(cause) ?? []
    groups.set(cause, group)
    if (cause !== one) group.push(one)
  }
  const ranked = [...groups]
    .map(([cause, consequences]) => ({ cause: withConsequences(cause, consequences), subjectKey: cause.subject }))
    .sort((a, b) => compare(a.cause, b.cause) || (a.subjectKey < b.subjectKey ? -1 : 1))
  return fairShare(ranked, MAX_FINDINGS, ({ subjectKey }) => namespaceIn(subjectKey)).map(
    ({ cause: { hurt: _hurt, follows: _follows, change: _change, ...finding } }) => finding,
  )
}

function compare(a: Detected, b: Detected): number {
  return ORDER[a.severity] - ORDER[b.severity] || b.hurt - a.hurt || a.sinceMs - b.sinceMs
}

/** The end of the chain of what follows from what; where it leads back to itself, the worst of the circle. */
function causeOf(start: Detected, byKey: ReadonlyMap<string, Detected>): Detected {
  const way: Detected[] = []
  for (let one = start; ; ) {
    const at = way.indexOf(one)
    if (at >= 0) return way.slice(at).reduce((worst, other) => (compare(other, worst) < 0 ? other : worst))
    way.push(one)
    const present = one
    const next = one.follows?.map((key) => byKey.get(key)).find((cause) => cause !== undefined && cause !== present)
    if (next === undefined) return one
    one = next
  }
}

function withConsequences(cause: Detected, consequences: readonly Detected[]): Detected {
  if (consequences.length === 0) return cause
  const sorted = consequences.toSorted(compare)
  const told = sorted.slice(0, MAX_CONSEQUENCES).map(({ says }) => `So: ${says}`)
  const more = sorted.length - told.length
  const [worst] = sorted
  return {
    ...cause,
    severity: worst !== undefined && ORDER[worst.severity] < ORDER[cause.severity] ? worst.severity : cause.severity,
    hurt: Math.max(cause.hurt, ...consequences.map(({ hurt }) => hurt)),
    evidence: [...cause.evidence, ...told, ...(more > 0 ? [`So: ${more} more like these`] : [])],
  }
}
