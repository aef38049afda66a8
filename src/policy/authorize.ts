/**
 * The decision: DENY before ALLOW, as Istio evaluates; AUDIT only reports. Hot path: allocates only
 * when an AUDIT policy matches.
 */
import type { ConnectionFacts, HttpFacts } from '#contract'
import { type CompiledPolicy, decide, type PolicyDecision, type PolicyRule, type PolicySet } from './policy-set.ts'
import { judgeRule } from './rule.ts'
import { Subject } from './subject.ts'
import { UNSURE, YES } from './truth.ts'

const MALFORMED_PATH = decide(
  { kind: 'deny', reason: 'The path is malformed and a policy that applies looks at paths' },
  true,
)

const subject = new Subject()

/** `http` is undefined for a connection that does not carry HTTP, never for one not yet known to. */
export function authorize(set: PolicySet, connection: ConnectionFacts, http: HttpFacts | undefined): PolicyDecision {
  if (set.empty) return set.otherwise
  subject.begin(connection, http)
  const decision = judgeSet(set, subject)
  const audited = set.audit.length > 0 ? auditedBy(set.audit, subject) : undefined
  subject.end()
  return audited === undefined ? decision : Object.freeze({ ...decision, audited })
}

function judgeSet(set: PolicySet, subject: Subject): PolicyDecision {
  if (set.refusal !== undefined) return set.refusal
  if (set.needsPath && subject.http !== undefined && subject.paths === undefined) return MALFORMED_PATH
  const match = set.denyRules.first(subject, UNSURE) ?? set.allowRules.first(subject, YES)
  if (match !== undefined) return match.decision
  return set.otherwise
}

/** The first rule that matches: an ALLOW rule must match for certain, others only possibly. */
export function firstMatch(policy: CompiledPolicy, subject: Subject): PolicyRule | undefined {
  const needed = policy.action === 'ALLOW' ? YES : UNSURE
  for (const candidate of policy.rules) if (judgeRule(candidate.rule, subject) >= needed) return candidate
  return undefined
}

function auditedBy(policies: readonly CompiledPolicy[], subject: Subject): readonly string[] | undefined {
  let keys: string[] | undefined
  for (const policy of policies) {
    if (firstMatch(policy, subject) === undefined) continue
    keys ??= []
    keys.push(policy.key)
  }
  return keys === undefined ? undefined : Object.freeze(keys)
}
