/**
 * One decoded YAML or JSON value → a typed object, or what is wrong with it. Kinds the mesh does not know are
 * not its business; a security policy or a route that does not validate becomes an object that refuses.
 */

import { FAILED, type Issue, isRecord, nearestName, type Schema, typeName } from '#schema'
import { peerAuthenticationBody, requestAuthenticationBody } from './authentication.ts'
import { authorizationPolicyBody } from './authorization-policy.ts'
import { backendTlsPolicyBody, configMapBody, readBackendNames } from './backend-tls-policy.ts'
import { endpointSliceBody, namespaceBody, nodeBody, podBody, serviceAccountBody, serviceBody } from './core.ts'
import { grpcRouteBody } from './grpc-route.ts'
import { httpRouteBody, parentRefsSchema, referenceGrantBody } from './http-route.ts'
import { describeObject, type Metadata, metadataSchema } from './metadata.ts'
import { type ApiGroup, misspeltKind } from './misspelt-kind.ts'
import type { InvalidPolicy, InvalidTrafficPolicy, KubernetesObject, ValidObject } from './objects.ts'
import { type TargetSpec, targetOnly, targetRefsOf } from './policy-target.ts'
import type { Origin, Problem } from './problem.ts'
import { serviceEntryBody } from './service-entry.ts'
import { tcpRouteBody, tlsRouteBody } from './stream-route.ts'
import { trafficPolicyBody } from './traffic-policy.ts'

export type ParseOutcome =
  /** Problems, if any, say why the object is an invalid one. */
  | { readonly kind: 'object'; readonly object: KubernetesObject; readonly problems: readonly Problem[] }
  /** Of no kind that concerns the mesh. */
  | { readonly kind: 'ignored' }
  /** Does not validate. `key` is what objectKey gives for its last good version. */
  | { readonly kind: 'rejected'; readonly key: string; readonly problems: readonly Problem[] }
  /** Not recognisable as a Kubernetes object at all, as in a file that is half written. */
  | { readonly kind: 'unrecognisable'; readonly problems: readonly Problem[] }

const OWN_GROUP = 'weir.dev'
const ISTIO_GROUP = 'security.istio.io'
const ISTIO_NETWORKING_GROUP = 'networking.istio.io'
const GATEWAY_GROUP = 'gateway.networking.k8s.io'

/** Problems told of one object; more of them would hide those of the others. */
const MAX_PROBLEMS = 20

type Kind = ValidObject['kind']
const BODY: Readonly<Record<Kind, Schema<object>>> = {
  Namespace: namespaceBody,
  Node: nodeBody,
  Pod: podBody,
  Service: serviceBody,
  ServiceAccount: serviceAccountBody,
  EndpointSlice: endpointSliceBody,
  HTTPRoute: httpRouteBody,
  GRPCRoute: grpcRouteBody,
  TLSRoute: tlsRouteBody,
  TCPRoute: tcpRouteBody,
  ServiceEntry: serviceEntryBody,
  BackendTLSPolicy: backendTlsPolicyBody,
  ConfigMap: configMapBody,
  ReferenceGrant: referenceGrantBody,
  AuthorizationPolicy: authorizationPolicyBody,
  PeerAuthentication: peerAuthenticationBody,
  RequestAuthentication: requestAuthenticationBody,
  TrafficPolicy: trafficPolicyBody,
}

const GROUPS: Readonly<Record<string, ApiGroup<Kind>>> = {
  '': { versions: ['v1'], kinds: ['Namespace', 'Node', 'Pod', 'Service', 'ServiceAccount', 'ConfigMap'] },
  'discovery.k8s.io': { versions: ['v1'], kinds: ['EndpointSlice'] },
  [GATEWAY_GROUP]: {
    versions: ['v1', 'v1beta1'],
    kinds: ['HTTPRoute', 'GRPCRoute', 'ReferenceGrant', 'TLSRoute', 'TCPRoute', 'BackendTLSPolicy'],
  },
  [ISTIO_GROUP]: {
    versions: ['v1', 'v1beta1'],
    kinds: ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication'],
  },
  [ISTIO_NETWORKING_GROUP]: { versions: ['v1', 'v1beta1', 'v1alpha3'], kinds: ['ServiceEntry'] },
  [OWN_GROUP]: {
    versions: ['v1alpha1'],
    kinds: ['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication', 'TrafficPolicy'],
  },
}
const STRICT_GROUPS: ReadonlySet<string> = new Set([OWN_GROUP, ISTIO_GROUP, ISTIO_NETWORKING_GROUP, GATEWAY_GROUP])
/** Of kinds whose versions are not those of their group. The fields that there are did not change between them. */
const VERSIONS: Readonly<Partial<Record<Kind, readonly string[]>>> = {
  TLSRoute: ['v1', 'v1alpha3', 'v1alpha2'],
  TCPRoute: ['v1', 'v1alpha2'],
  BackendTLSPolicy: ['v1', 'v1alpha3'],
}
const CLUSTER_SCOPED: ReadonlySet<string> = new Set(['Namespace', 'Node'])
const TOP_FIELDS = ['apiVersion', 'kind', 'metadata', 'spec', 'status']

interface Recognised {
  readonly group: string
  readonly kind: Kind
}

/** `value` as a YAML or JSON parser gives it; `origin` is carried along and named in problems. */
export function parseObject(value: unknown, origin?: Origin): ParseOutcome {
  if (!isRecord(value)) {
    return unrecognisable(origin, '', `expected a Kubernetes object (a mapping), got ${typeName(value)}`)
  }
  const recognised = recognise(value, origin)
  return 'outcome' in recognised ? recognised.outcome : parseBody(value, recognised, origin)
}

function recognise(
  value: Readonly<Record<string, unknown>>,
  origin: Origin | undefined,
): (Recognised & { readonly issue?: Issue }) | { readonly outcome: ParseOutcome } {
  const { kind, apiVersion } = { kind: value['kind'], apiVersion: value['apiVersion'] }
  const security = typeof kind === 'string' ? GROUPS[OWN_GROUP]?.kinds.find((known) => known === kind) : undefined
  if (typeof apiVersion !== 'string' || apiVersion === '') {
    const message =
      apiVersion === undefined ? 'is missing' : `expected a string such as v1, got ${typeName(apiVersion)}`
    // A policy is recognised by its kind alone: it may not be lost by a mistake in the line above.
    if (security !== undefined) return { group: OWN_GROUP, kind: security, issue: { field: 'apiVersion', message } }
    return { outcome: unrecognisable(origin, 'apiVersion', message) }
  }
  if (typeof kind !== 'string' || kind === '') {
    const message = kind === undefined ? 'is missing' : `expected a string such as Pod, got ${typeName(kind)}`
    return { outcome: unrecognisable(origin, 'kind', message) }
  }
  const slash = apiVersion.lastIndexOf('/')
  const group = slash < 0 ? '' : apiVersion.slice(0, slash)
  const version = apiVersion.slice(slash + 1)
  const known = Object.hasOwn(GROUPS, group) ? GROUPS[group] : undefined
  if (group === '' && security !== undefined) {
    const message = `${kind} is in weir.dev/v1alpha1 or security.istio.io/v1, got ${JSON.stringify(apiVersion)}`
    return { group: OWN_GROUP, kind: security, issue: { field: 'apiVersion', message } }
  }
  const found = known?.kinds.find((name) => name === kind)
  if (known === undefined || found === undefined) {
    const issue = misspeltKind(GROUPS, group, kind)
    if (issue === undefined) return { outcome: { kind: 'ignored' } }
    const name = nameOf(value)
    const object = name === undefined ? {} : { object: `${kind} ${namespaceOf(value, kind)}/${name}` }
    return { outcome: { kind: 'rejected', key: '', problems: [{ ...placeOf(origin), ...object, ...issue }] } }
  }
  const served = VERSIONS[found] ?? known.versions
  if (served.includes(version)) return { group, kind: found }
  const prefix = group === '' ? '' : `${group}/`
  const versions = served.map((name) => `${prefix}${name}`).join(' or ')
  const message = `${apiVersion} is not known for ${kind}: use ${versions}`
  return { group, kind: found, issue: { field: 'apiVersion', message } }
}

function parseBody(
  value: Readonly<Record<string, unknown>>,
  { group, kind, issue }: Recognised & { readonly issue?: Issue },
  origin: Origin | undefined,
): ParseOutcome {
  const issues: Issue[] = issue === undefined ? [] : [issue]
  const lenient = metadataSchema.read(value['metadata'] ?? {}, 'metadata', issues)
  const name = lenient === FAILED ? nameOf(value) : lenient.name
  const security = group === OWN_GROUP || group === ISTIO_GROUP
  if (name === undefined && !security) {
    return { kind: 'unrecognisable', problems: issues.map((one) => ({ ...placeOf(origin), object: kind, ...one })) }
  }
  const metadata: Metadata =
    lenient === FAILED
      ? {
          // A policy that nobody could name still refuses, under a name made of its place.
          name: name ?? `unnamed-${origin?.file ?? 'object'}-${origin?.document ?? 1}-${origin?.item ?? 1}`,
          namespace: namespaceOf(value, kind),
          labels: {},
          annotations: {},
          ownerReferences: [],
        }
      : { ...lenient, namespace: namespaceOf(value, kind) }
  const base = { group, metadata, ...(origin === undefined ? {} : { origin }) }
  const body = readBody(value, kind, group, issues)
  checkTargetNamespaces(body, metadata, issues)
  const effect = effectOf(kind)
  const problems = issues.slice(0, MAX_PROBLEMS).map((one, index): Problem => {
    const message = index === 0 && effect !== undefined ? `${one.message}; ${effect}` : one.message
    return { ...placeOf(origin), object: describeObject({ kind, metadata }), field: one.field, message }
  })
  if (body !== FAILED && lenient !== FAILED && issues.length === 0) {
    // `body` was read by the schema of `kind`, so that the pair is a member of the union.
    return { kind: 'object', object: { ...base, ...body, kind } as ValidObject, problems: [] }
  }
  const invalid = issues
    .slice(0, 1)
    .map((one) => (one.field === '' ? one.message : `${one.field}: ${one.message}`))
    .join('')
  if (kind === 'AuthorizationPolicy' || kind === 'PeerAuthentication' || kind === 'RequestAuthentication') {
    const target = readTarget(value)
    const object: InvalidPolicy = { ...base, kind, invalid, ...(target === undefined ? {} : { target }) }
    return { kind: 'object', object, problems }
  }
  if (kind === 'TrafficPolicy') {
    const target = readTarget(value)
    const object: InvalidTrafficPolicy = { ...base, kind, invalid, ...(target === undefined ? {} : { target }) }
    return { kind: 'object', object, problems }
  }
  if (kind === 'HTTPRoute' || kind === 'GRPCRoute') {
    return { kind: 'object', object: { ...base, kind, invalid, parentRefs: readParents(value) }, problems }
  }
  if (kind === 'BackendTLSPolicy') {
    return { kind: 'object', object: { ...base, kind, invalid, services: readBackendNames(value) }, problems }
  }
  if (kind === 'TLSRoute' || kind === 'TCPRoute') {
    const route = { ...base, invalid, parentRefs: readParents(value) }
    const object = kind === 'TLSRoute' ? { ...route, kind } : { ...route, kind }
    return { kind: 'object', object, problems }
  }
  return { kind: 'rejected', key: `${group}/${kind}:${metadata.namespace}/${metadata.name}`, problems }
}

/** What an object of that kind does while it does not validate; undefined where its last good version stays. */
function effectOf(kind: Kind): string | undefined {
  if (kind === 'HTTPRoute' || kind === 'GRPCRoute')
    return 'until it is mended all requests of its parents that reach it get 500'
  if (kind === 'TLSRoute' || kind === 'TCPRoute') {
    return 'until it is mended all connections to its parents that reach it are reset'
  }
  if (kind === 'BackendTLSPolicy') return 'until it is mended requests to its Services get 503'
  if (kind === 'TrafficPolicy') return 'until it is mended it does not apply'
  return kind.endsWith('Policy') || kind.endsWith('Authentication')
    ? 'until it is mended it denies all that it selects'
    : undefined
}

/** The part below the shared one; for the strict kinds with a look at the fields beside `spec`. */
function readBody(
  value: Readonly<Record<string, unknown>>,
  kind: Kind,
  group: string,
  issues: Issue[],
): object | typeof FAILED {
  const strict = STRICT_GROUPS.has(group)
  if (!strict) return BODY[kind].read(value, '', issues)
  for (const field of Object.keys(value)) {
    if (TOP_FIELDS.includes(field)) continue
    const near = nearestName(field, TOP_FIELDS)
    issues.push({ field, message: `unknown field${near ? `; did you mean ${near}?` : ''}` })
  }
  return BODY[kind].read(Object.hasOwn(value, 'spec') ? { spec: value['spec'] } : {}, '', issues)
}

function checkTargetNamespaces(body: object | typeof FAILED, metadata: Metadata, issues: Issue[]): void {
  if (body === FAILED || !('spec' in body) || !isRecord(body.spec)) return
  const spec: TargetSpec = body.spec
  for (const [index, ref] of targetRefsOf(spec).entries()) {
    if (ref.namespace === undefined || ref.namespace === metadata.namespace) continue
    const field = spec.targetRef === undefined ? `spec.targetRefs[${index}].namespace` : 'spec.targetRef.namespace'
    issues.push({
      field,
      message: `a policy applies to its own namespace (${metadata.namespace}) only, got ${ref.namespace}`,
    })
  }
}

function readTarget(value: Readonly<Record<string, unknown>>): TargetSpec | undefined {
  const issues: Issue[] = []
  const read = targetOnly.read(value, '', issues)
  if (read === FAILED) return undefined
  const { selector, targetRef, targetRefs } = read.spec
  const set = [selector, targetRef, targetRefs].filter((part) => part !== undefined)
  return set.length > 1 ? undefined : read.spec
}

function readParents(value: Readonly<Record<string, unknown>>) {
  const spec = value['spec']
  if (!isRecord(spec) || !Array.isArray(spec['parentRefs'])) return []
  return spec['parentRefs'].flatMap((ref: unknown) => {
    const read = parentRefsSchema.read([ref], '', [])
    return read === FAILED ? [] : read
  })
}

function nameOf(value: Readonly<Record<string, unknown>>): string | undefined {
  const metadata = value['metadata']
  const name = isRecord(metadata) ? metadata['name'] : undefined
  if (typeof name === 'number' || typeof name === 'boolean') return String(name)
  return typeof name === 'string' && name !== '' ? name : undefined
}

function namespaceOf(value: Readonly<Record<string, unknown>>, kind: string): string {
  if (CLUSTER_SCOPED.has(kind)) return ''
  const metadata = value['metadata']
  const namespace = isRecord(metadata) ? metadata['namespace'] : undefined
  if (typeof namespace === 'number' || typeof namespace === 'boolean') return String(namespace)
  return typeof namespace === 'string' && namespace !== '' ? namespace : 'default'
}

function placeOf(origin: Origin | undefined): Partial<Problem> {
  return origin ?? {}
}

function unrecognisable(origin: Origin | undefined, field: string, message: string): ParseOutcome {
  return { kind: 'unrecognisable', problems: [{ ...placeOf(origin), field, message }] }
}
