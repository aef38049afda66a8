/** HTTPRoutes and GRPCRoutes with Service parents and ReferenceGrants → what routing evaluates, all defaults filled in. */
import type {
  CorsPlan,
  GrpcRoute,
  HeaderEdit,
  HttpRoute,
  PathMatch,
  PathRewrite,
  ReferenceGrant,
  Route,
  RouteBackend,
  RouteFilter,
  RouteMatch,
  RouteParent,
  RouteRule,
} from '#contract'
import {
  type BackendRefSpec,
  type GrpcRouteMatchSpec,
  type GrpcRouteObject,
  type GrpcRouteRuleSpec,
  type HttpRouteObject,
  type InvalidRoute,
  isCoreGroup,
  type ParentRefSpec,
  type ReferenceGrantObject,
  type RouteFilterSpec,
  type RouteMatchSpec,
  type RouteRuleBody,
} from '#resources'
import { parseDurationMs } from '#schema'
import type { ProblemLog } from './problem-log.ts'
import { compileSession } from './sessions.ts'
import { compileRouteRetry } from './traffic.ts'

const GATEWAY_GROUP = 'gateway.networking.k8s.io'

/** Undefined when no parent is a Service: such a route is a gateway's business. */
export function compileRoute(route: HttpRouteObject, problems: ProblemLog): HttpRoute | undefined {
  const head = compileHead(route)
  if (head === undefined) return undefined
  const rules = route.spec.rules.map((rule, index) => compileRule(rule, index, route, problems))
  return { kind: 'http-route', ...head, rules }
}

/** As `compileRoute`. */
export function compileGrpcRoute(route: GrpcRouteObject, problems: ProblemLog): GrpcRoute | undefined {
  const head = compileHead(route)
  if (head === undefined) return undefined
  const rules = route.spec.rules.map((rule, index) => compileGrpcRule(rule, index, route, problems))
  return { kind: 'grpc-route', ...head, rules }
}

/** What routes of both kinds begin with. */
function compileHead({
  metadata,
  spec,
}: HttpRouteObject | GrpcRouteObject): Omit<HttpRoute, 'kind' | 'rules'> | undefined {
  const { namespace, name, creationTimestamp = '' } = metadata
  const parents = compileParents(spec.parentRefs, namespace)
  if (parents.length === 0) return undefined
  return { namespace, name, createdAt: creationTimestamp, parents, hostnames: spec.hostnames }
}

/** All its requests are refused; what they are, its parents say. */
export function compileInvalidRoute(route: InvalidRoute): Route | undefined {
  const parents = compileParents(route.parentRefs, route.metadata.namespace)
  if (parents.length === 0) return undefined
  return {
    kind: route.kind === 'HTTPRoute' ? 'http-route' : 'grpc-route',
    namespace: route.metadata.namespace,
    name: route.metadata.name,
    createdAt: route.metadata.creationTimestamp ?? '',
    parents,
    hostnames: [],
    rules: [
      { matches: [{ path: { type: 'PathPrefix', value: '/' }, headers: [], query: [] }], filters: [], backends: [] },
    ],
    invalid: route.invalid,
  }
}

export function compileParents(refs: readonly ParentRefSpec[], routeNamespace: string): RouteParent[] {
  return refs
    .filter(({ group, kind }) => isCoreGroup(group) && kind === 'Service')
    .map(({ namespace, name, port, sectionName }) => ({
      service: { namespace: namespace ?? routeNamespace, name },
      ...(port === undefined ? {} : { port }),
      ...(sectionName === undefined ? {} : { sectionName }),
    }))
}

function compileRule(rule: RouteRuleBody, index: number, route: HttpRouteObject, problems: ProblemLog): RouteRule {
  const request = timeoutMs(rule.timeouts?.request)
  const backendRequest = timeoutMs(rule.timeouts?.backendRequest)
  return {
    ...(rule.name === undefined ? {} : { name: rule.name }),
    matches: rule.matches.map(compileMatch),
    filters: rule.filters.map(filterCompiler(`spec.rules[${index}].filters`, route, problems)),
    backends: rule.backendRefs.map((ref, at) =>
      compileBackend(ref, `spec.rules[${index}].backendRefs[${at}]`, route, problems),
    ),
    ...(request === undefined ? {} : { requestTimeoutMs: request }),
    ...(backendRequest === undefined ? {} : { backendRequestTimeoutMs: backendRequest }),
    ...(rule.retry === undefined ? {} : { retry: compileRouteRetry(rule.retry) }),
    ...(rule.sessionPersistence === undefined
      ? {}
      : { session: compileSession(rule.sessionPersistence, route.metadata, rule.name ?? String(index)) }),
  }
}

function compileGrpcRule(
  rule: GrpcRouteRuleSpec,
  index: number,
  route: GrpcRouteObject,
  problems: ProblemLog,
): RouteRule {
  return {
    ...(rule.name === undefined ? {} : { name: rule.name }),
    matches: rule.matches.map(compileGrpcMatch),
    filters: rule.filters.map(filterCompiler(`spec.rules[${index}].filters`, route, problems)),
    backends: rule.backendRefs.map((ref, at) =>
      compileBackend(ref, `spec.rules[${index}].backendRefs[${at}]`, route, problems),
    ),
  }
}

function compileGrpcMatch({ method, headers }: GrpcRouteMatchSpec): RouteMatch {
  return { path: grpcPath(method), headers: compileHeaders(headers), query: [] }
}

/** The path of a gRPC request is its method's name: `/Service/Method`. */
function grpcPath(match: GrpcRouteMatchSpec['method']): PathMatch {
  const { type, service = '', method = '' } = match ?? {}
  if (service === '' && method === '') return { type: 'PathPrefix', value: '/' }
  if (service === '') {
    const name = type === 'Exact' ? method : `(?:${method})`
    return { type: 'RegularExpression', value: `/[^/]+/${name}`, anyService: true }
  }
  if (type === 'RegularExpression') {
    return { type, value: `/(?:${service})/${method === '' ? '[^/]+' : `(?:${method})`}` }
  }
  return method === ''
    ? { type: 'PathPrefix', value: `/${service}` }
    : { type: 'Exact', value: `/${service}/${method}` }
}

/** Zero means no limit of its own, which is what an absent one means here. */
function timeoutMs(text: string | undefined): number | undefined {
  return (text === undefined ? undefined : parseDurationMs(text)) || undefined
}

function compileMatch(match: RouteMatchSpec): RouteMatch {
  return {
    path: match.path,
    ...(match.method === undefined ? {} : { method: match.method }),
    headers: compileHeaders(match.headers),
    query: firstOfEach(match.queryParams).map(valueMatch),
  }
}

/** Of equivalent names the first counts (Gateway API); header names are equal without regard to case. */
function compileHeaders(headers: RouteMatchSpec['headers']): RouteMatch['headers'] {
  return firstOfEach(headers.map((entry) => ({ ...entry, name: entry.name.toLowerCase() }))).map(valueMatch)
}

function valueMatch({ name, type, value }: RouteMatchSpec['headers'][number]): RouteMatch['headers'][number] {
  return { name, match: { type, value } }
}

function firstOfEach<T extends { readonly name: string }>(entries: readonly T[]): readonly T[] {
  return entries.filter((entry, index) => entries.findIndex(({ name }) => name === entry.name) === index)
}

/** @param field of the list that it is in */
type FilterCompiler = (filter: RouteFilterSpec, index: number) => RouteFilter

function filterCompiler(field: string, route: HttpRouteObject | GrpcRouteObject, problems: ProblemLog): FilterCompiler {
  return (filter, index) => {
    if (filter.type !== 'RequestMirror' || filter.requestMirror === undefined) return compileFilter(filter)
    const { backendRef, percent = 100, fraction } = filter.requestMirror
    const at = `${field}[${index}].requestMirror.backendRef`
    const wrong = refFault(backendRef)
    if (wrong !== undefined) problems.add(route, at, `${wrong}; nothing is mirrored there`)
    return {
      type: 'RequestMirror',
      backend: backendOf(backendRef, at, wrong, route.metadata.namespace),
      numerator: fraction?.numerator ?? percent,
      denominator: fraction?.denominator ?? 100,
    }
  }
}

function compileFilter(filter: RouteFilterSpec): RouteFilter {
  switch (filter.type) {
    case 'RequestMirror':
      throw new Error('A RequestMirror is compiled with its reference')
    case 'RequestHeaderModifier':
      return { type: filter.type, edit: compileEdit(filter.requestHeaderModifier) }
    case 'ResponseHeaderModifier':
      return { type: filter.type, edit: compileEdit(filter.responseHeaderModifier) }
    case 'URLRewrite': {
      const { hostname, path } = filter.urlRewrite ?? {}
      const rewrite = compilePath(path)
      return {
        type: filter.type,
        ...(hostname === undefined ? {} : { hostname }),
        ...(rewrite === undefined ? {} : { path: rewrite }),
      }
    }
    case 'RequestRedirect': {
      const { scheme, hostname, port, path, statusCode = 302 } = filter.requestRedirect ?? {}
      const rewrite = compilePath(path)
      return {
        type: filter.type,
        ...(scheme === undefined ? {} : { scheme }),
        ...(hostname === undefined ? {} : { hostname }),
        ...(port === undefined ? {} : { port }),
        ...(rewrite === undefined ? {} : { path: rewrite }),
        statusCode,
      }
    }
    case 'CORS':
      return { type: filter.type, cors: compileCors(filter.cors) }
  }
}

function compileCors(filter: RouteFilterSpec['cors']): CorsPlan {
  return {
    origins: filter?.allowOrigins ?? [],
    credentials: filter?.allowCredentials ?? false,
    methods: filter?.allowMethods ?? [],
    headers: filter?.allowHeaders ?? [],
    expose: filter?.exposeHeaders ?? [],
    maxAgeSeconds: filter?.maxAge ?? 5,
  }
}

function compileEdit(modifier: RouteFilterSpec['requestHeaderModifier']): HeaderEdit {
  return { set: modifier?.set ?? [], add: modifier?.add ?? [], remove: modifier?.remove ?? [] }
}

function compilePath(path: NonNullable<RouteFilterSpec['urlRewrite']>['path']): PathRewrite | undefined {
  if (path === undefined) return undefined
  return {
    type: path.type,
    value: (path.type === 'ReplaceFullPath' ? path.replaceFullPath : path.replacePrefixMatch) ?? '',
  }
}

function compileBackend(
  ref: BackendRefSpec,
  field: string,
  route: HttpRouteObject | GrpcRouteObject,
  problems: ProblemLog,
): RouteBackend {
  const wrong = refFault(ref)
  if (wrong !== undefined) problems.add(route, field, `${wrong}; its share of requests gets 500`)
  return {
    weight: ref.weight,
    filters: ref.filters.map(filterCompiler(`${field}.filters`, route, problems)),
    ...backendOf(ref, field, wrong, route.metadata.namespace),
  }
}

type Reference = Pick<BackendRefSpec, 'group' | 'kind' | 'name' | 'namespace' | 'port'>

function refFault(ref: Reference): string | undefined {
  if (!isCoreGroup(ref.group) || ref.kind !== 'Service') {
    return `${ref.group === '' ? '' : `${ref.group}/`}${ref.kind} ${ref.name} is no backend: only Services are`
  }
  return ref.port === undefined ? 'needs a port: a Service backend is a name and a port' : undefined
}

function backendOf(ref: Reference, field: string, wrong: string | undefined, namespace: string) {
  return {
    service: { namespace: ref.namespace ?? namespace, name: ref.name, port: ref.port ?? 0 },
    ...(wrong === undefined ? {} : { invalid: `${field}: ${wrong}` }),
  }
}

/** Only what concerns routes of this API to core kinds; the rest grants nothing here. */
export function compileGrant(grant: ReferenceGrantObject): ReferenceGrant {
  return {
    kind: 'reference-grant',
    namespace: grant.metadata.namespace,
    name: grant.metadata.name,
    from: grant.spec.from
      .filter(({ group }) => group === GATEWAY_GROUP)
      .map(({ kind, namespace }) => ({ kind, namespace })),
    to: grant.spec.to
      .filter(({ group }) => isCoreGroup(group))
      .map(({ kind, name }) => ({ kind, ...(name === undefined || name === '' ? {} : { name }) })),
  }
}
