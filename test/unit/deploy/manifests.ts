/** daemonset.yaml as values, and Kubernetes' own types as the judge of any such document. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'

export const ROOT = join(import.meta.dirname, '../../..')

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly [field: string]: unknown
}

/** All documents of the file; a mistake in the YAML, or an empty document, is an error. */
export function readManifests(): readonly Manifest[] {
  return parseAllDocuments(readFileSync(join(ROOT, 'daemonset.yaml'), 'utf8')).map((document) => {
    const [error] = document.errors
    if (error !== undefined) throw error
    return document.toJS() as Manifest
  })
}

/** The value at a path such as `spec.template.spec.containers[0].args`; undefined where there is none. */
export function at(value: unknown, path: string): unknown {
  const parts = path.match(/[^.[\]]+/g) ?? []
  return parts.reduce<unknown>((inner, part) => {
    return typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>)[part] : undefined
  }, value)
}

export function list(value: unknown, path: string): readonly unknown[] {
  const found = at(value, path)
  return Array.isArray(found) ? found : []
}

export function text(value: unknown, path: string): string {
  return String(at(value, path) ?? '')
}

/** Every object inside a value, itself included, with its path. */
export function* objectsIn(value: unknown, path = ''): Generator<[string, Readonly<Record<string, unknown>>]> {
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) yield* objectsIn(item, `${path}[${index}]`)
  } else if (typeof value === 'object' && value !== null) {
    yield [path, value as Record<string, unknown>]
    for (const [name, item] of Object.entries(value)) yield* objectsIn(item, path === '' ? name : `${path}.${name}`)
  }
}

/** Where a kind's type is: apps/v1 DaemonSet → kubernetes-models/apps/v1/DaemonSet, v1 Pod → kubernetes-models/v1/Pod. */
function moduleOf({ apiVersion, kind }: Manifest): string {
  return `kubernetes-models/${apiVersion}/${kind}`
}

/**
 * The compiler's findings on the documents, each assigned to the type of its kind (of Kubernetes' OpenAPI document):
 * unknown fields, missing ones and wrong types, as `KIND NAME: what`.
 * @param directory an empty one inside the project
 */
export function typeErrors(directory: string, manifests: readonly Manifest[], write: WriteFile): readonly string[] {
  const lines: string[] = []
  const ownerOf = new Map<number, string>()
  for (const [index, manifest] of manifests.entries()) {
    const owner = `${manifest.kind} ${manifest.metadata.name}`
    const literal = JSON.stringify(manifest, null, 1).split('\n')
    const head = [
      `import type { I${manifest.kind} as T${index} } from '${moduleOf(manifest)}'`,
      `export const m${index}: T${index} = ${literal[0] ?? '{}'}`,
    ]
    for (const line of [...head, ...literal.slice(1)]) {
      lines.push(line)
      ownerOf.set(lines.length, owner)
    }
  }
  write(join(directory, 'manifests.ts'), lines.join('\n'))
  const config = { extends: join(ROOT, 'tsconfig.json'), include: ['manifests.ts'] }
  write(join(directory, 'tsconfig.json'), JSON.stringify(config))
  try {
    const tsc = join(ROOT, 'node_modules/.bin/tsc')
    // tap's hooks come back with any environment that is given.
    execFileSync('env', ['-u', 'NODE_OPTIONS', tsc, '-p', directory, '--pretty', 'false'], { encoding: 'utf8' })
    return []
  } catch (thrown) {
    const output = String(at(thrown, 'stdout') ?? '')
    if (output === '') throw thrown
    return [...output.matchAll(/^.*manifests\.ts\((\d+),\d+\): error (TS\d+: .*)$/gm)].map(
      ([, line, what]) => `${ownerOf.get(Number(line)) ?? '?'}: ${what}`,
    )
  }
}

type WriteFile = (path: string, text: string) => void
