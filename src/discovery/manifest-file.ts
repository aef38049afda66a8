/**
 * The text of one manifest file → its objects. A file is applied whole or not at all: a YAML error or a document
 * that is no Kubernetes object means that somebody is still writing it, or that nobody can say what was meant.
 */

import { parseAllDocuments } from 'yaml'
import { isInvalid, type KubernetesObject, type Origin, objectKey, type Problem, parseObject } from '#resources'
import { describeYamlError } from './yaml-error.ts'

/** Objects of a file under their keys, in the order of the file. */
export type FileObjects = ReadonlyMap<string, KubernetesObject>

export type FileReading =
  /** `kept` are the keys whose last good version stays in force. */
  | {
      readonly kind: 'applied'
      readonly objects: FileObjects
      readonly kept: readonly string[]
      readonly problems: readonly Problem[]
    }
  /**
   * Not applied. `security` are the policies that can be made out nevertheless, broken ones as invalid, for the
   * one case that nothing better is known: a start with a broken file must not forget what it protects.
   */
  | { readonly kind: 'broken'; readonly security: FileObjects; readonly problems: readonly Problem[] }

/** Larger files are not read: no manifest is that large. */
export const MAX_FILE_BYTES = 16 * 1024 * 1024

const SECURITY_KINDS: ReadonlySet<string> = new Set([
  'AuthorizationPolicy',
  'PeerAuthentication',
  'RequestAuthentication',
])
const MAX_LIST_DEPTH = 4

export function readManifest(file: string, bytes: Uint8Array): FileReading {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return { kind: 'broken', security: new Map(), problems: [{ file, message: 'is not UTF-8 text: save it as UTF-8' }] }
  }
  const objects = new Map<string, KubernetesObject>()
  const security = new Map<string, KubernetesObject>()
  const kept: string[] = []
  const problems: Problem[] = []
  let broken = false
  for (const { value, origin, error } of documentsOf(file, text)) {
    if (error !== undefined) {
      broken = true
      problems.push({ ...origin, message: error })
      for (const object of salvage(value, origin, error)) security.set(objectKey(object), object)
      continue
    }
    if (value === null || value === undefined) continue
    const outcome = parseObject(value, origin)
    if (outcome.kind === 'ignored') continue
    problems.push(...outcome.problems)
    if (outcome.kind === 'unrecognisable') broken = true
    if (outcome.kind === 'rejected') kept.push(outcome.key)
    if (outcome.kind !== 'object') continue
    const key = objectKey(outcome.object)
    const first = objects.get(key)
    if (first === undefined) objects.set(key, outcome.object)
    else problems.push(duplicate(outcome.object, first))
    if (SECURITY_KINDS.has(outcome.object.kind) && !security.has(key)) security.set(key, outcome.object)
  }
  return broken ? { kind: 'broken', security, problems } : { kind: 'applied', objects, kept, problems }
}

/** The object is given twice: which of the two counts. */
export function duplicate(object: KubernetesObject, first: KubernetesObject): Problem {
  const { name, namespace } = object.metadata
  const place = first.origin === undefined ? 'elsewhere' : `in ${first.origin.file} (document ${first.origin.document})`
  return {
    ...object.origin,
    object: `${object.kind} ${namespace === '' ? name : `${namespace}/${name}`}`,
    message: `is already defined ${place}, which is kept: remove one of them`,
  }
}

interface Document {
  readonly value: unknown
  readonly origin: Origin
  readonly error?: string
}

function* documentsOf(file: string, text: string): Generator<Document> {
  const documents = parseAllDocuments(text, { merge: true, logLevel: 'silent', stringKeys: true })
  if (!Array.isArray(documents)) return
  for (const [index, document] of documents.entries()) {
    const origin: Origin = { file, document: index + 1 }
    const parseError = document.errors[0]
    try {
      const value: unknown = document.toJS()
      if (parseError !== undefined) yield { value, origin, error: `not valid YAML: ${describeYamlError(parseError)}` }
      else yield* itemsOf(value, origin, 0)
    } catch (error) {
      yield { value: undefined, origin, error: `not valid YAML: ${describeYamlError(parseError ?? error)}` }
    }
  }
}

/** A List (or PodList, …) stands for its items; those of a typed list need not repeat kind and apiVersion. */
function* itemsOf(value: unknown, origin: Origin, depth: number): Generator<Document> {
  const listed = isMapping(value) && typeof value['kind'] === 'string' && value['kind'].endsWith('List')
  const items = listed ? value['items'] : undefined
  if (!listed || !Array.isArray(items) || depth >= MAX_LIST_DEPTH) {
    yield { value, origin }
    return
  }
  const kind = String(value['kind']).slice(0, -'List'.length)
  const shared = kind === '' ? {} : { apiVersion: value['apiVersion'], kind }
  for (const [index, item] of items.entries()) {
    const place = depth === 0 ? { ...origin, item: index + 1 } : origin
    yield* itemsOf(isMapping(item) ? { ...shared, ...item } : item, place, depth + 1)
  }
}

/** What is left of a broken document, if it is a policy: refusing, whatever it would have said. */
function salvage(value: unknown, origin: Origin, error: string): KubernetesObject[] {
  if (!isMapping(value) || typeof value['kind'] !== 'string' || !SECURITY_KINDS.has(value['kind'])) return []
  const outcome = parseObject(value, origin)
  if (outcome.kind !== 'object') return []
  const { object } = outcome
  const { kind, group, metadata } = object
  if (isInvalid(object)) return [object]
  if (kind !== 'AuthorizationPolicy' && kind !== 'PeerAuthentication' && kind !== 'RequestAuthentication') return []
  // The part that is cut off may hold the selector's other half: nothing of the target is believed.
  return [{ kind, group, metadata, origin, invalid: error }]
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
