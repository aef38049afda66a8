/** TLSRoutes and TCPRoutes with Service parents → what routing evaluates. */
import type { StreamBackend, StreamRoute } from '#contract'
import {
  type InvalidStreamRoute,
  isCoreGroup,
  type StreamBackendRefSpec,
  type TcpRouteObject,
  type TlsRouteObject,
} from '#resources'
import type { ProblemLog } from './problem-log.ts'
import { compileParents } from './routes.ts'

const KINDS = { TLSRoute: 'tls-route', TCPRoute: 'tcp-route' } as const

/** Undefined when no parent is a Service: such a route is a gateway's business. */
export function compileStreamRoute(
  route: TlsRouteObject | TcpRouteObject,
  problems: ProblemLog,
): StreamRoute | undefined {
  const { namespace } = route.metadata
  const parents = compileParents(route.spec.parentRefs, namespace)
  if (parents.length === 0) return undefined
  return {
    kind: KINDS[route.kind],
    namespace,
    name: route.metadata.name,
    createdAt: route.metadata.creationTimestamp ?? '',
    parents,
    hostnames: route.kind === 'TLSRoute' ? route.spec.hostnames : [],
    rules: route.spec.rules.map((rule, index) => ({
      ...(rule.name === undefined ? {} : { name: rule.name }),
      backends: rule.backendRefs.map((ref, at) =>
        compileBackend(ref, `spec.rules[${index}].backendRefs[${at}]`, route, problems),
      ),
    })),
  }
}

/** Which connections it would have decided is not known: all of them. */
export function compileInvalidStreamRoute(route: InvalidStreamRoute): StreamRoute | undefined {
  const parents = compileParents(route.parentRefs, route.metadata.namespace)
  if (parents.length === 0) return undefined
  return {
    kind: KINDS[route.kind],
    namespace: route.metadata.namespace,
    name: route.metadata.name,
    createdAt: route.metadata.creationTimestamp ?? '',
    parents,
    hostnames: [],
    rules: [{ backends: [] }],
    invalid: route.invalid,
  }
}

function compileBackend(
  ref: StreamBackendRefSpec,
  field: string,
  route: TlsRouteObject | TcpRouteObject,
  problems: ProblemLog,
): StreamBackend {
  const wrong =
    !isCoreGroup(ref.group) || ref.kind !== 'Service'
      ? `${ref.group === '' ? '' : `${ref.group}/`}${ref.kind} ${ref.name} is no backend: only Services are`
      : ref.port === undefined
        ? 'needs a port: a Service backend is a name and a port'
        : undefined
  if (wrong !== undefined) problems.add(route, field, `${wrong}; its share of connections is reset`)
  return {
    weight: ref.weight,
    service: { namespace: ref.namespace ?? route.metadata.namespace, name: ref.name, port: ref.port ?? 0 },
    ...(wrong === undefined ? {} : { invalid: `${field}: ${wrong}` }),
  }
}
