/**
 * The policies that apply to one workload, compiled once per snapshot: matchers and every possible
 * decision are made here, so that judging a request only compares.
 */
import type { AuthorizationPolicy, Verdict, Workload } from '#contract'
import type { CheckNeeds } from './check.ts'
import { type CompiledRule, compileRule } from './rule.ts'
import { RuleIndex } from './rule-index.ts'
import { type RuleKeys, ruleKeys } from './rule-keys.ts'

/** A verdict, and what only reports. */
export type PolicyDecision = Verdict & {
  /** `namespace/name` of AUDIT policies that match; they never change the verdict. */
  readonly audited: readonly string[]
  /** The path cannot be normalised and a policy looks at paths: the refusal is 400, not 403. */
  readonly malformedPath: boolean
}

export interface PolicyRule {
  readonly index: number
  readonly rule: CompiledRule
  readonly keys: RuleKeys
  /** The decision when this rule is the first to match. */
  readonly decision: PolicyDecision
}

export interface CompiledPolicy {
  /** `namespace/name`. */
  readonly key: string
  readonly action: AuthorizationPolicy['action']
  readonly rules: readonly PolicyRule[]
}

export interface PolicySet {
  /** No policy applies: nothing needs judging. */
  readonly empty: boolean
  /** A rule looks at the request, not only at the connection: each request is to be judged. */
  readonly needsHttp: boolean
  /** An ALLOW or DENY rule looks at the path: a malformed path is refused. */
  readonly needsPath: boolean
  /** A rule looks at the server name of the application's TLS. */
  readonly needsSni: boolean
  /** `namespace/name` of all that apply, sorted. */
  readonly policies: readonly string[]
  readonly deny: readonly CompiledPolicy[]
  readonly allow: readonly CompiledPolicy[]
  readonly audit: readonly CompiledPolicy[]
  /** All rules of the DENY policies, and of the ALLOW policies. */
  readonly denyRules: RuleIndex
  readonly allowRules: RuleIndex
  /** Set when a policy that applies did not validate: everything is denied. */
  readonly refusal: PolicyDecision | undefined
  /** The decision when no DENY rule and no ALLOW rule matches. */
  readonly otherwise: PolicyDecision
}

/** Where policies come from; a snapshot of the world is one. */
export interface PolicySource {
  /** Policies that are in the namespace. */
  authorizationPolicies(namespace: string): readonly AuthorizationPolicy[]
  /** Policies of the root namespace without targetRefs: as in Istio, they select in all namespaces. */
  meshPolicies(): readonly AuthorizationPolicy[]
}

const NOTHING_AUDITED: readonly string[] = Object.freeze([])

export function decide(verdict: Verdict, malformedPath = false): PolicyDecision {
  return Object.freeze({ ...verdict, audited: NOTHING_AUDITED, malformedPath })
}

const NO_POLICY = decide({ kind: 'allow', reason: 'No policy applies to the workload' })
const NO_ALLOW_POLICY = decide({ kind: 'allow', reason: 'No DENY policy matches and no ALLOW policy applies' })

const EMPTY: PolicySet = Object.freeze({
  empty: true,
  needsHttp: false,
  needsPath: false,
  needsSni: false,
  policies: NOTHING_AUDITED,
  deny: Object.freeze([]),
  allow: Object.freeze([]),
  audit: Object.freeze([]),
  denyRules: new RuleIndex([]),
  allowRules: new RuleIndex([]),
  refusal: undefined,
  otherwise: NO_POLICY,
})

function selects(policy: AuthorizationPolicy, workload: Workload, services: ReadonlySet<string>): boolean {
  const sameNamespace = policy.namespace === workload.namespace
  if (policy.scope !== 'mesh' && !sameNamespace) return false
  // With targetRefs the selector is empty and selects nothing by itself.
  if (policy.services.length > 0) return sameNamespace && policy.services.some((name) => services.has(name))
  return Object.entries(policy.selector).every(([name, value]) => workload.labels[name] === value)
}

function compilePolicy(policy: AuthorizationPolicy): CompiledPolicy {
  const key = keyOf(policy)
  const kind = policy.action === 'ALLOW' ? 'allow' : 'deny'
  const rules = policy.rules.map((rule, index): PolicyRule => {
    const reason = `Rule ${index} of ${policy.action} policy ${key} matches`
    const decision = decide({ kind, policy: key, rule: index, reason })
    return Object.freeze({ index, rule: compileRule(rule, policy.namespace), keys: ruleKeys(rule), decision })
  })
  return Object.freeze({ key, action: policy.action, rules: Object.freeze(rules) })
}

function keyOf(policy: AuthorizationPolicy): string {
  return `${policy.namespace}/${policy.name}`
}

function looksAt(policies: readonly CompiledPolicy[], needs: (needs: CheckNeeds) => boolean): boolean {
  return policies
    .flatMap(({ rules }) => rules)
    .flatMap(({ rule }) => rule.clauses)
    .flatMap(({ entries }) => entries)
    .some((checks) => checks.some((check) => needs(check.needs)))
}

function otherwise(allow: readonly CompiledPolicy[]): PolicyDecision {
  if (allow.length === 0) return NO_ALLOW_POLICY
  const policy = allow.map(({ key }) => key).join(', ')
  return decide({ kind: 'deny', policy, reason: `ALLOW policies apply and no rule of theirs matches: ${policy}` })
}

/** `services`: names of the Services in the workload's namespace that select it, for `targetRefs`. */
export function policySetFor(source: PolicySource, workload: Workload, services: readonly string[]): PolicySet {
  const named = new Set(services)
  const chosen = new Map<string, AuthorizationPolicy>()
  for (const policy of source.meshPolicies()) {
    if (selects(policy, workload, named)) chosen.set(keyOf(policy), policy)
  }
  for (const policy of source.authorizationPolicies(workload.namespace)) {
    if (selects(policy, workload, named)) chosen.set(keyOf(policy), policy)
  }
  return compileSet([...chosen.values()])
}

/** Compiles policies already known to apply. */
function compileSet(chosen: readonly AuthorizationPolicy[]): PolicySet {
  if (chosen.length === 0) return EMPTY
  const sorted = chosen.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
  const invalid = sorted.find((policy) => policy.invalid !== undefined)
  const compiled = sorted.filter((policy) => policy.invalid === undefined).map(compilePolicy)
  const deny = compiled.filter((policy) => policy.action === 'DENY')
  const allow = compiled.filter((policy) => policy.action === 'ALLOW')
  const audit = compiled.filter((policy) => policy.action === 'AUDIT')
  return Object.freeze({
    empty: false,
    needsHttp: looksAt(compiled, (needs) => needs === 'request' || needs === 'path'),
    needsSni: looksAt(compiled, (needs) => needs === 'sni'),
    needsPath: looksAt([...deny, ...allow], (needs) => needs === 'path'),
    policies: Object.freeze(sorted.map(keyOf)),
    deny: Object.freeze(deny),
    allow: Object.freeze(allow),
    audit: Object.freeze(audit),
    denyRules: new RuleIndex(deny.flatMap(({ rules }) => rules)),
    allowRules: new RuleIndex(allow.flatMap(({ rules }) => rules)),
    refusal: invalid === undefined ? undefined : refusalOf(invalid),
    otherwise: otherwise(allow),
  })
}

function refusalOf(policy: AuthorizationPolicy): PolicyDecision {
  const key = keyOf(policy)
  const reason = `Policy ${key} is not valid and denies all that it selects: ${policy.invalid ?? ''}`
  return decide({ kind: 'deny', policy: key, reason })
}
