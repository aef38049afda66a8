/** The object store behind the fake API server: versions, history for watches, selectors, conflicts. No HTTP. */

export type FakeObject = Readonly<Record<string, unknown>> & {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string; readonly namespace?: string }
}

export interface FakeResource {
  readonly group: string
  /** Served ones; what is stored is given out under the version that is asked for. */
  readonly versions: readonly string[]
  readonly plural: string
  readonly kind: string
  readonly namespaced: boolean
}

export interface Change {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly version: number
  readonly object: FakeObject
  readonly before: FakeObject | undefined
}

/** An answer other than success. */
export class FakeRefusal extends Error {
  readonly status: number
  readonly reason: string

  constructor(status: number, reason: string, message: string) {
    super(message)
    this.status = status
    this.reason = reason
  }
}

const core = (plural: string, kind: string, namespaced = true): FakeResource => ({
  group: '',
  versions: ['v1'],
  plural,
  kind,
  namespaced,
})
const custom = (group: string, versions: readonly string[], plural: string, kind: string): FakeResource => ({
  group,
  versions,
  plural,
  kind,
  namespaced: true,
})

/** Always there. */
export const BUILT_IN: readonly FakeResource[] = [
  core('namespaces', 'Namespace', false),
  core('nodes', 'Node', false),
  core('pods', 'Pod'),
  core('services', 'Service'),
  core('serviceaccounts', 'ServiceAccount'),
  core('secrets', 'Secret'),
  core('configmaps', 'ConfigMap'),
  core('events', 'Event'),
  custom('discovery.k8s.io', ['v1'], 'endpointslices', 'EndpointSlice'),
  custom('coordination.k8s.io', ['v1'], 'leases', 'Lease'),
  custom('events.k8s.io', ['v1'], 'events', 'Event'),
]

/** Those of definitions that a test installs with `define`. */
export const GATEWAY_API: readonly FakeResource[] = [
  custom('gateway.networking.k8s.io', ['v1', 'v1beta1'], 'httproutes', 'HTTPRoute'),
  custom('gateway.networking.k8s.io', ['v1'], 'grpcroutes', 'GRPCRoute'),
  custom('gateway.networking.k8s.io', ['v1'], 'backendtlspolicies', 'BackendTLSPolicy'),
  custom('gateway.networking.k8s.io', ['v1beta1'], 'referencegrants', 'ReferenceGrant'),
]
export const WEIR_POLICIES: readonly FakeResource[] = [
  custom('weir.dev', ['v1alpha1'], 'authorizationpolicies', 'AuthorizationPolicy'),
  custom('weir.dev', ['v1alpha1'], 'peerauthentications', 'PeerAuthentication'),
  custom('weir.dev', ['v1alpha1'], 'requestauthentications', 'RequestAuthentication'),
  custom('weir.dev', ['v1alpha1'], 'trafficpolicies', 'TrafficPolicy'),
]

export class FakeObjects {
  readonly resource: FakeResource
  readonly #nextVersion: () => number
  readonly #onChange: (change: Change) => void
  readonly #objects = new Map<string, FakeObject>()
  #history: Change[] = []
  /** Older versions are forgotten. */
  #compacted = 0

  constructor(resource: FakeResource, nextVersion: () => number, onChange: (change: Change) => void) {
    this.resource = resource
    this.#nextVersion = nextVersion
    this.#onChange = onChange
  }

  find(namespace: string, name: string): FakeObject | undefined {
    return this.#objects.get(`${namespace}/${name}`)
  }

  get(namespace: string, name: string): FakeObject {
    const found = this.find(namespace, name)
    if (found === undefined) throw new FakeRefusal(404, 'NotFound', `${this.resource.plural} "${name}" not found`)
    return found
  }

  /** Sorted by namespace and name, as etcd gives them. */
  list(namespace: string | undefined, selector: string): readonly FakeObject[] {
    const names = [...this.#objects.keys()].sort()
    return names.flatMap((name) => {
      const object = this.#objects.get(name)
      const isMeant = object !== undefined && (namespace === undefined || namespaceOf(object) === namespace)
      return isMeant && matches(object, selector) ? [object] : []
    })
  }

  create(object: FakeObject): FakeObject {
    if (this.find(namespaceOf(object), object.metadata.name) !== undefined) {
      throw new FakeRefusal(409, 'AlreadyExists', `${this.resource.plural} "${object.metadata.name}" already exists`)
    }
    return this.put(object)
  }

  /** Throws 409 when `object` names a version that is not the present one. */
  replace(object: FakeObject): FakeObject {
    const present = this.get(namespaceOf(object), object.metadata.name)
    const version = object.metadata['resourceVersion']
    if (version !== undefined && version !== present.metadata['resourceVersion']) {
      throw new FakeRefusal(
        409,
        'Conflict',
        `the object has been modified: ${this.resource.plural} ${object.metadata.name}`,
      )
    }
    return this.put(object)
  }

  /** Whatever was there before. */
  put(object: FakeObject): FakeObject {
    const key = `${namespaceOf(object)}/${object.metadata.name}`
    const before = this.#objects.get(key)
    const version = this.#nextVersion()
    const stored: FakeObject = {
      ...object,
      metadata: {
        uid: before?.metadata['uid'] ?? `uid-${version}`,
        creationTimestamp: before?.metadata['creationTimestamp'] ?? '2026-01-01T00:00:00Z',
        ...object.metadata,
        ...(this.resource.namespaced ? { namespace: namespaceOf(object) } : {}),
        resourceVersion: String(version),
      },
    }
    this.#objects.set(key, stored)
    this.#record({ type: before === undefined ? 'ADDED' : 'MODIFIED', version, object: stored, before })
    return stored
  }

  remove(namespace: string, name: string): FakeObject {
    const before = this.get(namespace, name)
    const version = this.#nextVersion()
    this.#objects.delete(`${namespace}/${name}`)
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } }
    this.#record({ type: 'DELETED', version, object, before })
    return object
  }

  /** Changes after `version`; undefined: they are not known any more. */
  since(version: number): readonly Change[] | undefined {
    return version < this.#compacted ? undefined : this.#history.filter((change) => change.version > version)
  }

  compact(version: number): void {
    this.#compacted = version
    this.#history = this.#history.filter((change) => change.version > version)
  }

  #record(change: Change): void {
    this.#history.push(change)
    this.#onChange(change)
  }
}

/** What a watch with that selector is told of a change: an object that leaves what is selected is deleted for it. */
export function seenAs({ type, object, before }: Change, selector: string): Change['type'] | undefined {
  const was = before !== undefined && matches(before, selector)
  const is = type !== 'DELETED' && matches(object, selector)
  if (is) return was ? 'MODIFIED' : 'ADDED'
  return was ? 'DELETED' : undefined
}

/** RFC 7396, a JSON merge patch. */
export function mergePatch(value: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch
  const merged: Record<string, unknown> = isRecord(value) ? { ...value } : {}
  for (const [name, part] of Object.entries(patch)) {
    if (part === null) delete merged[name]
    else merged[name] = mergePatch(merged[name], part)
  }
  return merged
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isFakeObject(value: unknown): value is FakeObject {
  return isRecord(value) && isRecord(value['metadata']) && typeof value['metadata']['name'] === 'string'
}

/** Empty for what has no namespace. */
function namespaceOf(object: FakeObject): string {
  return object.metadata.namespace ?? ''
}

function matches(object: FakeObject, selector: string): boolean {
  return selector.split(',').every((term) => {
    if (term === '') return true
    const [, path = '', operator = '', wanted = ''] = /^([^!=]+)(!=|==?)(.*)$/.exec(term) ?? []
    let value: unknown = object
    for (const field of path.split('.')) value = isRecord(value) ? value[field] : undefined
    return (String(value ?? '') === wanted) === (operator !== '!=')
  })
}
