/** Why a request is allowed or denied, in words, by the same matchers that decide. */
import type { ConnectionFacts, HttpFacts } from '#contract'
import { authorize, firstMatch } from './authorize.ts'
import type { Check } from './check.ts'
import type { CompiledPolicy, PolicyRule, PolicySet } from './policy-set.ts'
import { type Clause, judgeClause, judgeEntry, judgeRule } from './rule.ts'
import { Subject } from './subject.ts'
import { truthText, UNSURE } from './truth.ts'

/** One line per thought; the first is the verdict. Not for the hot path. */
export function explainPolicy(set: PolicySet, connection: ConnectionFacts, http: HttpFacts | undefined): string[] {
  const decision = authorize(set, connection, http)
  const lines = [`${decision.kind === 'allow' ? 'Allowed' : 'Denied'}: ${decision.reason}`]
  if (set.empty) return lines
  lines.push(`Source: ${connection.source?.principal ?? 'no verified identity'}, ${connection.sourceIp}`)
  const subject = new Subject()
  subject.begin(connection, http)
  if (http !== undefined && set.needsPath) {
    const readings = subject.paths
    lines.push(`Path as matched: ${readings === undefined ? 'malformed' : readings.join(', also read as ')}`)
  }
  for (const policy of [...set.deny, ...set.allow, ...set.audit]) explainOne(lines, policy, subject)
  return lines
}

function explainOne(lines: string[], policy: CompiledPolicy, subject: Subject): void {
  const matched = firstMatch(policy, subject)
  lines.push(
    `${policy.action} policy ${policy.key}: ${matched === undefined ? 'no rule matches' : `rule ${matched.index} matches`}`,
  )
  if (policy.rules.length === 0) lines.push('  it has no rules, so it never matches')
  for (const rule of policy.rules) explainRule(lines, policy, rule, subject)
}

function explainRule(lines: string[], policy: CompiledPolicy, { index, rule }: PolicyRule, subject: Subject): void {
  const truth = judgeRule(rule, subject)
  const doubt = policy.action === 'ALLOW' ? ', which does not allow' : ', which counts as a match'
  const note = truth === UNSURE ? doubt : ''
  lines.push(`  rule ${index} ${truthText(truth)}${note}${rule.clauses.length === 0 ? ' (it asks nothing)' : ''}`)
  for (const clause of rule.clauses) explainClause(lines, clause, subject)
}

function explainClause(lines: string[], clause: Clause, subject: Subject): void {
  lines.push(`    ${clause.name} ${truthText(judgeClause(clause, subject))}`)
  for (const checks of clause.entries) {
    const several = clause.entries.length > 1 ? ` → ${truthText(judgeEntry(checks, subject))}` : ''
    lines.push(`      ${checks.map((check) => explainCheck(check, subject)).join('; ')}${several}`)
  }
}

function explainCheck(check: Check, subject: Subject): string {
  return `${check.text} ${truthText(check.judge(subject))}`
}
