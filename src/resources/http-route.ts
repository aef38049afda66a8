/**
 * HTTPRoute and ReferenceGrant (gateway.networking.k8s.io v1 and v1beta1), strict: with the bounds, defaults
 * and cross-field rules that the API server would hold them to.
 */
import {
  checkDuration,
  type Issue,
  integer,
  list,
  mapped,
  type Output,
  object,
  oneOf,
  optional,
  parseDurationMs,
  port,
  refine,
  string,
  withDefault,
} from '#schema'
import { checkHostname, checkLabelName, checkSubdomain } from './names.ts'
import { checkPrefixReplacement, filtersSchema } from './route-filter.ts'
import { MATCH_ALL, type RouteMatchSpec, routeMatchSchema } from './route-match.ts'
import { sessionPersistence } from './session-persistence.ts'

const GATEWAY_GROUP = 'gateway.networking.k8s.io'
/** Of all rules of a route together. */
const MAX_MATCHES = 128
export const MAX_RULES = 16

const parentRef = refine(
  object('strict', {
    group: withDefault(string(), GATEWAY_GROUP),
    kind: withDefault(string(), 'Gateway'),
    namespace: optional(string(checkLabelName)),
    name: string(checkSubdomain),
    sectionName: optional(string(checkSubdomain)),
    port: optional(port()),
  }),
  (ref, field, issues) => {
    if (ref.kind !== 'Service' || isCoreGroup(ref.group)) return
    issues.push({ field: `${field}.group`, message: `a Service parent is in the core group: write group: ""` })
  },
)

export const parentRefsSchema = list(parentRef, { max: 32 })

/** @param filters those that the kind of route allows */
export function backendRefSchema(filters: typeof filtersSchema) {
  return object('strict', {
    group: withDefault(string(), ''),
    kind: withDefault(string(), 'Service'),
    name: string(checkSubdomain),
    namespace: optional(string(checkLabelName)),
    port: optional(port()),
    weight: withDefault(integer(0, 1_000_000), 1),
    filters: withDefault(filters, []),
  })
}

const backendRef = backendRefSchema(filtersSchema)

const timeouts = refine(
  object('strict', { request: optional(string(checkDuration)), backendRequest: optional(string(checkDuration)) }),
  ({ request, backendRequest }, field, issues) => {
    const whole = request === undefined ? 0 : (parseDurationMs(request) ?? 0)
    const one = backendRequest === undefined ? 0 : (parseDurationMs(backendRequest) ?? 0)
    if (whole === 0 || one <= whole) return
    const message = `${backendRequest} is longer than timeouts.request (${request}): it may not be`
    issues.push({ field: `${field}.backendRequest`, message })
  },
)

/** GEP-1731. */
const retry = object('strict', {
  codes: withDefault(list(integer(400, 599), { max: 64 }), []),
  attempts: optional(integer(0, 10)),
  backoff: optional(string(checkDuration)),
})

const rule = refine(
  object('strict', {
    name: optional(string(checkSubdomain)),
    matches: withDefault(
      mapped(list(routeMatchSchema, { max: 64 }), (matches) => (matches.length === 0 ? [MATCH_ALL] : matches)),
      [MATCH_ALL] as readonly RouteMatchSpec[],
    ),
    filters: withDefault(filtersSchema, []),
    backendRefs: withDefault(list(backendRef, { max: 16 }), []),
    timeouts: optional(timeouts),
    retry: optional(retry),
    sessionPersistence: optional(sessionPersistence),
  }),
  (value, field, issues) => {
    const redirect = value.filters.findIndex((item) => item.type === 'RequestRedirect')
    if (redirect >= 0 && value.backendRefs.length > 0) {
      const message = 'RequestRedirect cannot stand beside backendRefs: remove one of them'
      issues.push({ field: `${field}.filters[${redirect}]`, message })
    }
    checkPrefixReplacement(value.filters, value.matches, `${field}.filters`, issues)
    for (const [index, backend] of value.backendRefs.entries()) {
      checkPrefixReplacement(backend.filters, value.matches, `${field}.backendRefs[${index}].filters`, issues)
    }
  },
)

type RouteRuleSpec = Output<typeof rule>
const MATCH_ALL_RULE: RouteRuleSpec = { matches: [MATCH_ALL], filters: [], backendRefs: [] }

/** Rule names are unique, and matches of all rules together bounded: of HTTPRoutes and of GRPCRoutes. */
export function checkRules(
  rules: readonly { readonly name?: string; readonly matches: readonly unknown[] }[],
  field: string,
  issues: Issue[],
): void {
  const names = new Map<string, number>()
  let matches = 0
  for (const [index, { name, matches: own }] of rules.entries()) {
    matches += own.length
    if (name === undefined) continue
    const first = names.get(name)
    if (first === undefined) names.set(name, index)
    else issues.push({ field: `${field}[${index}].name`, message: `${name} is already the name of rules[${first}]` })
  }
  if (matches > MAX_MATCHES)
    issues.push({ field, message: `have ${matches} matches together, at most ${MAX_MATCHES} are allowed` })
}

const rules = refine(list(rule, { min: 1, max: MAX_RULES }), checkRules)

export const httpRouteBody = object('strict', {
  spec: object('strict', {
    parentRefs: withDefault(parentRefsSchema, []),
    useDefaultGateways: optional(oneOf('All', 'None')),
    hostnames: withDefault(list(string(checkHostname), { max: 16 }), []),
    rules: withDefault(rules, [MATCH_ALL_RULE]),
  }),
})

export const referenceGrantBody = object('strict', {
  spec: object('strict', {
    from: list(object('strict', { group: string(), kind: string(), namespace: string(checkLabelName) }), {
      min: 1,
      max: 16,
    }),
    to: list(object('strict', { group: string(), kind: string(), name: optional(string(checkSubdomain)) }), {
      min: 1,
      max: 16,
    }),
  }),
})

/** The core group, which is the empty string; the word `core` is read as it, too. */
export function isCoreGroup(group: string): boolean {
  return group === '' || group === 'core'
}

export type ParentRefSpec = Output<typeof parentRef>
export type BackendRefSpec = Output<typeof backendRef>
export type HttpRouteBody = Output<typeof httpRouteBody>
export type RouteRuleBody = RouteRuleSpec
export type ReferenceGrantBody = Output<typeof referenceGrantBody>
