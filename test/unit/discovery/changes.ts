/** A directory for one test and the changes its source tells, awaited one by one. */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DirectorySourceOptions, type ObjectSource, openDirectorySource } from '#discovery'
import { type KubernetesObject, objectKey, renderProblem } from '#resources'

export interface Told {
  readonly objects: readonly KubernetesObject[]
  readonly keys: readonly string[]
  readonly lines: readonly string[]
}

export class Directory implements AsyncDisposable {
  readonly path: string
  /** How often the source called so far. */
  calls = 0
  /** The keys told, each time. */
  readonly history: (readonly string[])[] = []
  last: Told = { objects: [], keys: [], lines: [] }
  #source: ObjectSource | undefined
  #waiting: (() => void) | undefined

  constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<Directory> {
    return new Directory(await mkdtemp(join(tmpdir(), 'weir-manifests-')))
  }

  async open(options: Partial<DirectorySourceOptions> = {}): Promise<Told> {
    this.#source = await openDirectorySource({
      directory: this.path,
      rescanMs: 60_000,
      debounceMs: 5,
      onChange: (objects, { problems }) => {
        this.calls++
        this.last = { objects, keys: objects.map(objectKey), lines: problems.map(renderProblem) }
        this.history.push(this.last.keys)
        this.#waiting?.()
      },
      ...options,
    })
    return this.last
  }

  async close(): Promise<void> {
    await this.#source?.[Symbol.asyncDispose]()
  }

  write(file: string, text: string | Uint8Array): Promise<void> {
    return writeFile(join(this.path, file), text)
  }

  rename(from: string, to: string): Promise<void> {
    return rename(join(this.path, from), join(this.path, to))
  }

  remove(file: string): Promise<void> {
    return rm(join(this.path, file))
  }

  /** The first state told, the present one included, for which the condition holds. */
  async until(condition: (told: Told) => boolean): Promise<Told> {
    while (!condition(this.last)) {
      await new Promise<void>((resolve) => {
        this.#waiting = resolve
      })
    }
    return this.last
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
    await rm(this.path, { recursive: true, force: true })
  }
}

export function service(name: string, port: number | string = 80): string {
  return `apiVersion: v1\nkind: Service\nmetadata: { name: ${name} }\nspec: { ports: [{ port: ${port} }] }\n`
}

export function allow(name: string, method: string | number = 'GET'): string {
  return `apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: shop }
spec: { rules: [{ to: [{ operation: { methods: [${method}] } }] }] }
`
}
