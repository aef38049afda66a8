/**
 * AuthorizationPolicy (weir.dev/v1alpha1, security.istio.io/v1 and v1beta1), strict, with Istio's own rules
 * of what is a mistake. Bias: whatever could be read in two ways is refused, for a refused policy fails closed.
 */

import {
  type Check,
  FAILED,
  type Issue,
  list,
  type Output,
  object,
  oneOf,
  optional,
  refine,
  string,
  withDefault,
} from '#schema'
import {
  checkIpBlock,
  checkMethod,
  checkPath,
  checkPortText,
  checkPrincipal,
  checkServiceAccount,
  checkWildcard,
  conditionCheck,
} from './policy-patterns.ts'
import { checkTarget, targetFields } from './policy-target.ts'

function values(check: Check<string>) {
  return optional(list(string(check), { min: 1 }))
}

function checkSomeField(value: Readonly<Record<string, unknown>>, field: string, issues: Issue[]): void {
  if (Object.keys(value).length === 0) issues.push({ field, message: 'has no field: set at least one of them' })
}

const source = refine(
  object('strict', {
    principals: values(checkPrincipal),
    notPrincipals: values(checkPrincipal),
    requestPrincipals: values(checkWildcard),
    notRequestPrincipals: values(checkWildcard),
    namespaces: values(checkWildcard),
    notNamespaces: values(checkWildcard),
    serviceAccounts: values(checkServiceAccount),
    notServiceAccounts: values(checkServiceAccount),
    ipBlocks: values(checkIpBlock),
    notIpBlocks: values(checkIpBlock),
    remoteIpBlocks: values(checkIpBlock),
    notRemoteIpBlocks: values(checkIpBlock),
  }),
  (value, field, issues) => {
    checkSomeField(value, field, issues)
    const accounts = (['serviceAccounts', 'notServiceAccounts'] as const).find((name) => value[name] !== undefined)
    const others = (['principals', 'notPrincipals', 'namespaces', 'notNamespaces'] as const).find(
      (name) => value[name] !== undefined,
    )
    if (accounts === undefined || others === undefined) return
    issues.push({ field: `${field}.${accounts}`, message: `cannot be combined with ${others}: keep one of them` })
  },
)

const operation = refine(
  object('strict', {
    hosts: values(checkWildcard),
    notHosts: values(checkWildcard),
    ports: values(checkPortText),
    notPorts: values(checkPortText),
    methods: values(checkMethod),
    notMethods: values(checkMethod),
    paths: values(checkPath),
    notPaths: values(checkPath),
  }),
  checkSomeField,
)

const condition = refine(
  object('strict', {
    key: string(),
    values: optional(list(string(), { min: 1 })),
    notValues: optional(list(string(), { min: 1 })),
  }),
  (value, field, issues) => {
    const check = conditionCheck(value.key)
    if ('wrong' in check) {
      issues.push({ field: `${field}.key`, message: check.wrong })
      return
    }
    if (value.values === undefined && value.notValues === undefined) {
      issues.push({ field, message: `needs values or notValues for ${value.key}` })
    }
    for (const name of ['values', 'notValues'] as const) {
      for (const [index, text] of (value[name] ?? []).entries()) {
        const wrong = check.values(text)
        if (wrong !== undefined) issues.push({ field: `${field}.${name}[${index}]`, message: wrong })
      }
    }
  },
)

const rule = object('strict', {
  from: optional(list(object('strict', { source }), { min: 1 })),
  to: optional(list(object('strict', { operation }), { min: 1 })),
  when: optional(list(condition, { min: 1 })),
})

const known = oneOf('ALLOW', 'DENY', 'AUDIT')
const action: typeof known = {
  read(value, field, issues) {
    if (value !== 'CUSTOM') return known.read(value, field, issues)
    issues.push({ field, message: 'CUSTOM is not supported: use ALLOW, DENY or AUDIT' })
    return FAILED
  },
}

const spec = refine(
  object(
    'strict',
    { ...targetFields, action: withDefault(action, 'ALLOW'), rules: optional(list(rule, { min: 1 })) },
    { provider: 'belongs to action CUSTOM, which is not supported: remove it' },
  ),
  (value, field, issues) => {
    checkTarget(value, field, issues)
    if (value.action === 'DENY' && value.rules === undefined) {
      const message = 'a DENY policy without rules never matches: add the rule {} to deny everything'
      issues.push({ field: `${field}.rules`, message })
    }
  },
)

export const authorizationPolicyBody = object('strict', { spec: withDefault(spec, { action: 'ALLOW' }) })

export type AuthorizationPolicyBody = Output<typeof authorizationPolicyBody>
export type AuthorizationRuleSpec = Output<typeof rule>
export type AuthorizationSourceSpec = Output<typeof source>
