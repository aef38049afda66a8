/** Worlds compiled from YAML, for tests. */

import { parseAllDocuments } from 'yaml'
import { type MeshObject, meshKey } from '#contract'
import { type KubernetesObject, parseObject, renderProblem } from '#resources'
import { type CompileOptions, compileWorld } from '../../../src/mesh/compile/index.ts'

export function objectsOf(text: string): KubernetesObject[] {
  const documents = parseAllDocuments(text)
  if (!Array.isArray(documents)) return []
  return documents.map((document) => {
    const outcome = parseObject(document.toJS())
    if (outcome.kind !== 'object') throw new Error(JSON.stringify(outcome))
    return outcome.object
  })
}

export interface Compiled {
  readonly world: ReadonlyMap<string, MeshObject>
  readonly lines: readonly string[]
  get(kind: string, name: string, namespace?: string): MeshObject | undefined
}

export function compile(text: string, options: Partial<CompileOptions> = {}): Compiled {
  const { objects, problems } = compileWorld(objectsOf(text), { trustDomain: 'cluster.local', ...options })
  return {
    world: objects,
    lines: problems.map(renderProblem),
    get: (kind, name, namespace = 'shop') => objects.get(meshKey({ kind, namespace, name })),
  }
}

/** A pod shop/NAME; `more` is flow YAML put into metadata, `spec` into spec, `status` into status. */
export function pod(name: string, ip: string, { more = '', spec = '', status = '' } = {}): string {
  return `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, ${more} }
spec: { nodeName: a, ${spec} }
status: { podIP: ${ip}, ${status} }
`
}

export function manifest(apiVersion: string, kind: string, name: string, body: string, namespace = 'shop'): string {
  return `---\napiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: ${name}, namespace: ${namespace} }\n${body}\n`
}
