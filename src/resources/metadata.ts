/** The part that all Kubernetes objects share, and how an object is named in texts. */
import type { Origin } from './problem.ts'
import { boolean, list, map, type Output, object, optional, string, withDefault } from './schema.ts'

const ownerReference = object('lenient', {
  kind: string(),
  name: string(),
  controller: optional(boolean()),
})

export const metadataSchema = object('lenient', {
  name: string((text) => (text === '' ? 'is empty' : undefined)),
  namespace: optional(string()),
  uid: optional(string()),
  labels: withDefault(map(string()), {}),
  annotations: withDefault(map(string()), {}),
  /** RFC 3339. */
  creationTimestamp: optional(string()),
  deletionTimestamp: optional(string()),
  ownerReferences: withDefault(list(ownerReference), []),
})

export type OwnerReference = Output<typeof ownerReference>

export interface Metadata extends Omit<Output<typeof metadataSchema>, 'namespace'> {
  /** `default` where a namespaced object does not say; empty for cluster-scoped kinds. */
  readonly namespace: string
}

/** What every parsed object has. */
export interface ObjectBase {
  /** Of apiVersion: empty for the core group. */
  readonly group: string
  readonly metadata: Metadata
  readonly origin?: Origin
}

/** The name of an object in texts: `Pod shop/web`, `Node a`. */
export function describeObject(object: {
  readonly kind: string
  readonly metadata: { readonly namespace: string; readonly name: string }
}): string {
  const { namespace, name } = object.metadata
  return `${object.kind} ${namespace === '' ? name : `${namespace}/${name}`}`
}
