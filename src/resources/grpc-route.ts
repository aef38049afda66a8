/**
 * GRPCRoute (gateway.networking.k8s.io v1), strict: with the bounds, defaults and cross-field rules that the API server
 * would hold it to.
 */

import { list, mapped, type Output, object, oneOf, optional, refine, string, withDefault } from '#schema'
import { backendRefSchema, checkRules, MAX_RULES, parentRefsSchema } from './http-route.ts'
import { checkHostname, checkRegularExpression, checkSubdomain } from './names.ts'
import { grpcFiltersSchema } from './route-filter.ts'
import { headerMatchesSchema } from './route-match.ts'

const MAX_NAME = 1024
const SERVICE = /^\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*$/
const METHOD = /^[A-Za-z_][A-Za-z_0-9]*$/

const name = string((text) =>
  text.length > MAX_NAME ? `has ${text.length} characters, at most ${MAX_NAME} are allowed` : undefined,
)

const methodMatch = refine(
  object('strict', {
    type: withDefault(oneOf('Exact', 'RegularExpression'), 'Exact'),
    service: optional(name),
    method: optional(name),
  }),
  ({ type, service = '', method = '' }, field, issues) => {
    if (service === '' && method === '')
      issues.push({ field, message: 'names neither service nor method: fill one of them or remove the field' })
    const wrong = (part: 'service' | 'method', text: string): string | undefined => {
      if (text === '') return undefined
      if (type === 'RegularExpression') return checkRegularExpression(text)
      const fits = part === 'service' ? SERVICE.test(text) : METHOD.test(text)
      const example = part === 'service' ? 'shop.v1.Carts' : 'GetCart'
      return fits ? undefined : `expected the name of a gRPC ${part} such as ${example}, got ${JSON.stringify(text)}`
    }
    for (const [part, text] of [['service', service] as const, ['method', method] as const]) {
      const message = wrong(part, text)
      if (message !== undefined) issues.push({ field: `${field}.${part}`, message })
    }
  },
)

const match = object('strict', {
  method: optional(methodMatch),
  headers: withDefault(headerMatchesSchema, []),
})

export type GrpcRouteMatchSpec = Output<typeof match>

/** What stands for an absent or empty list of matches: every request. */
const MATCH_ALL: readonly GrpcRouteMatchSpec[] = [{ headers: [] }]

const rule = object(
  'strict',
  {
    name: optional(string(checkSubdomain)),
    matches: withDefault(
      mapped(list(match, { max: 64 }), (matches) => (matches.length === 0 ? MATCH_ALL : matches)),
      MATCH_ALL,
    ),
    filters: withDefault(grpcFiltersSchema, []),
    backendRefs: withDefault(list(backendRefSchema(grpcFiltersSchema), { max: 16 }), []),
  },
  {
    sessionPersistence: 'is an experimental field that is not supported: remove it',
    timeouts: 'is no field of a GRPCRoute: the caller says it (grpc-timeout)',
    retry: 'is no field of a GRPCRoute: say it in a TrafficPolicy',
  },
)

export type GrpcRouteRuleSpec = Output<typeof rule>
const MATCH_ALL_RULE: GrpcRouteRuleSpec = { matches: MATCH_ALL, filters: [], backendRefs: [] }

export const grpcRouteBody = object('strict', {
  spec: object('strict', {
    parentRefs: withDefault(parentRefsSchema, []),
    useDefaultGateways: optional(oneOf('All', 'None')),
    hostnames: withDefault(list(string(checkHostname), { max: 16 }), []),
    rules: withDefault(refine(list(rule, { max: MAX_RULES }), checkRules), [MATCH_ALL_RULE]),
  }),
})

export type GrpcRouteBody = Output<typeof grpcRouteBody>
