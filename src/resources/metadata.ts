/** The part that all Kubernetes objects share, and how an object is named in texts. */
import { ANNOTATION } from '#contract'
import {
  boolean,
  FAILED,
  integer,
  isRecord,
  list,
  map,
  type Output,
  object,
  optional,
  type Schema,
  string,
  withDefault,
} from '#schema'
import type { Origin } from './problem.ts'

const plainTexts = map(string())

const ownerReference = object('lenient', {
  kind: string(),
  name: string(),
  controller: optional(boolean()),
})

/** Labels or annotations. YAML reads `true` without quotes as no text: for the word of opting in, what is meant is told. */
const texts: Schema<Readonly<Record<string, string>>> = {
  read(value, field, issues) {
    const word = isRecord(value) ? value[ANNOTATION.mesh] : undefined
    if (typeof word !== 'boolean' || !isRecord(value)) return plainTexts.read(value, field, issues)
    const { [ANNOTATION.mesh]: _, ...others } = value
    const message = `expected enabled or disabled, got ${word}: write ${word ? 'enabled' : 'disabled'}`
    issues.push({ field: `${field}[${ANNOTATION.mesh}]`, message })
    plainTexts.read(others, field, issues)
    return FAILED
  },
}

export const metadataSchema = object('lenient', {
  name: string((text) => (text === '' ? 'is empty' : undefined)),
  namespace: optional(string()),
  uid: optional(string()),
  /** Of the desired state, counted by the API server. */
  generation: optional(integer(0, Number.MAX_SAFE_INTEGER)),
  labels: withDefault(texts, {}),
  annotations: withDefault(texts, {}),
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
