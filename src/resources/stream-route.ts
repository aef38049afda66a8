/**
 * TLSRoute and TCPRoute (gateway.networking.k8s.io/v1, and the versions before), strict, with the bounds and defaults
 * that the API server would hold them to.
 */

import { integer, list, type Output, object, oneOf, optional, port, string, withDefault } from '#schema'
import { parentRefsSchema } from './http-route.ts'
import { checkHostname, checkLabelName, checkSubdomain } from './names.ts'

const backendRef = object(
  'strict',
  {
    group: withDefault(string(), ''),
    kind: withDefault(string(), 'Service'),
    name: string(checkSubdomain),
    namespace: optional(string(checkLabelName)),
    port: optional(port()),
    weight: withDefault(integer(0, 1_000_000), 1),
  },
  { filters: 'is not supported here: only requests can be filtered' },
)

const rules = list(
  object(
    'strict',
    { name: optional(string(checkSubdomain)), backendRefs: list(backendRef, { min: 1, max: 16 }) },
    { matches: 'is not supported here: connections have no path and no headers' },
  ),
  { min: 1, max: 1 },
)

const common = {
  parentRefs: withDefault(parentRefsSchema, []),
  useDefaultGateways: optional(oneOf('All', 'None')),
  rules,
}

export const tlsRouteBody = object('strict', {
  spec: object('strict', { ...common, hostnames: list(string(checkHostname), { min: 1, max: 16 }) }),
})

export const tcpRouteBody = object('strict', {
  spec: object('strict', common, {
    hostnames: 'is not supported here: a TCP connection names no host, a TLSRoute has them',
  }),
})

export type StreamBackendRefSpec = Output<typeof backendRef>
export type TlsRouteBody = Output<typeof tlsRouteBody>
export type TcpRouteBody = Output<typeof tcpRouteBody>
