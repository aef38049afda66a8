/**
 * Security policies → what policy evaluates. Bias: whatever does not validate denies what it selects, and what
 * would not be carried out as written is told, never passed over.
 */
import type { AuthorizationCondition, AuthorizationPolicy, AuthorizationRule, AuthorizationSource } from '#contract'
import {
  type AuthorizationPolicyObject,
  type AuthorizationRuleSpec,
  type AuthorizationSourceSpec,
  canonicalCidr,
  type InvalidPolicy,
  isCoreGroup,
  type RequestAuthenticationObject,
  type TargetSpec,
  targetRefsOf,
} from '#resources'
import type { ProblemLog } from './problem-log.ts'

export interface PolicyOptions {
  readonly trustDomain: string
  readonly rootNamespace: string
}

type Target = Pick<AuthorizationPolicy, 'scope' | 'selector' | 'services'>

/** Undefined when it targets nothing but what is not of this mesh, such as a Gateway. */
export function compilePolicy(
  policy: AuthorizationPolicyObject,
  options: PolicyOptions,
  problems: ProblemLog,
): AuthorizationPolicy | undefined {
  const { spec } = policy
  const target = compileTarget(spec, policy.metadata.namespace, options)
  for (const [index, { group, kind, name }] of targetRefsOf(spec).entries()) {
    if (isCoreGroup(group) && kind === 'Service') continue
    const field = spec.targetRef === undefined ? `spec.targetRefs[${index}]` : 'spec.targetRef'
    problems.add(policy, field, `${kind} ${name} is not in the mesh: only a Service can be targeted; not applied to it`)
  }
  if (target === undefined) return undefined
  return {
    kind: 'authorization-policy',
    namespace: policy.metadata.namespace,
    name: policy.metadata.name,
    ...target,
    action: spec.action,
    rules: (spec.rules ?? []).map((rule) => compileRule(rule, options)),
  }
}

/** Of any of the three security kinds: denies all that it selects, or its namespace when that cannot be read. */
export function compileInvalidPolicy(policy: InvalidPolicy, options: PolicyOptions): AuthorizationPolicy {
  const { namespace, name } = policy.metadata
  const whole = compileTarget({}, namespace, options)
  const target = (policy.target === undefined ? undefined : compileTarget(policy.target, namespace, options)) ?? whole
  return {
    kind: 'authorization-policy',
    namespace,
    name: policy.kind === 'AuthorizationPolicy' ? name : `${policy.kind}/${name}`,
    scope: target?.scope ?? 'namespace',
    selector: target?.selector ?? {},
    services: target?.services ?? [],
    action: 'DENY',
    rules: [{}],
    invalid: policy.invalid,
  }
}

/** Says what of it is not carried out. */
export function checkRequestAuthentication(policy: RequestAuthenticationObject, problems: ProblemLog): void {
  if (policy.spec.jwtRules.length === 0) return
  problems.add(
    policy,
    'spec.jwtRules',
    'tokens are not verified by this version: no request has a request principal or claims',
  )
}

function compileTarget(spec: TargetSpec, namespace: string, { rootNamespace }: PolicyOptions): Target | undefined {
  const refs = targetRefsOf(spec)
  if (refs.length > 0) {
    const services = refs.filter(({ group, kind }) => isCoreGroup(group) && kind === 'Service').map(({ name }) => name)
    return services.length === 0 ? undefined : { scope: 'workload', selector: {}, services }
  }
  const selector = spec.selector?.matchLabels ?? {}
  if (namespace === rootNamespace) return { scope: 'mesh', selector, services: [] }
  return { scope: Object.keys(selector).length > 0 ? 'workload' : 'namespace', selector, services: [] }
}

function compileRule(rule: AuthorizationRuleSpec, options: PolicyOptions): AuthorizationRule {
  return {
    ...(rule.from === undefined ? {} : { from: rule.from.map(({ source }) => compileSource(source, options)) }),
    ...(rule.to === undefined ? {} : { to: rule.to.map(({ operation }) => operation) }),
    ...(rule.when === undefined ? {} : { when: rule.when.map((condition) => compileCondition(condition, options)) }),
  }
}

function compileSource(source: AuthorizationSourceSpec, { trustDomain }: PolicyOptions): AuthorizationSource {
  const out: Record<string, readonly string[]> = {}
  for (const [name, values] of Object.entries(source)) {
    if (name === 'principals' || name === 'notPrincipals')
      out[name] = values.map((text) => localPrincipal(text, trustDomain))
    else if (/ipblocks$/i.test(name)) out[name] = values.map((text) => canonicalCidr(text) ?? text)
    else out[name] = values
  }
  return out
}

function compileCondition(condition: AuthorizationCondition, { trustDomain }: PolicyOptions): AuthorizationCondition {
  const turn = (text: string): string => {
    if (condition.key === 'source.principal') return localPrincipal(text, trustDomain)
    return condition.key.endsWith('.ip') ? (canonicalCidr(text) ?? text) : text
  }
  return {
    key: condition.key,
    ...(condition.values === undefined ? {} : { values: condition.values.map(turn) }),
    ...(condition.notValues === undefined ? {} : { notValues: condition.notValues.map(turn) }),
  }
}

/** In a policy, as in Istio, `cluster.local` means the trust domain of this mesh, whatever its name. */
function localPrincipal(text: string, trustDomain: string): string {
  return text.startsWith('cluster.local/') ? `${trustDomain}/${text.slice('cluster.local/'.length)}` : text
}
