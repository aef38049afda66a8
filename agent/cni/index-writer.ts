/** Keeps the index of opted-in namespaces and pods on disk, for the plugin while no agent runs. */
import { randomBytes } from 'node:crypto'
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorLine } from '#base'
import { ANNOTATION } from '#contract'
import type { ObjectChange } from '#discovery'
import { changedObjects, enrolments } from '#mesh/compile'
import type { KubernetesObject } from '#resources'
import { podKey, runtimeUid } from './overlay.ts'
import { type PodIndex, renderPodIndex } from './plugin-side.ts'

/** What the plugin needs to know of these objects. */
export function podIndexOf(objects: readonly KubernetesObject[], node: string): PodIndex {
  const near = objects.filter((object) => isNear(object, node))
  const namespaces = near.flatMap((object) => {
    if (object.kind !== 'Namespace') return []
    const { labels, annotations, name } = object.metadata
    return (labels[ANNOTATION.mesh] ?? annotations[ANNOTATION.mesh]) === 'enabled' ? [name] : []
  })
  const optedIn = new Set(enrolments(near, node).enrolments.map(podKey))
  const pods = near.flatMap((object) => {
    if (object.kind !== 'Pod' || object.spec.hostNetwork) return []
    const { namespace, name } = object.metadata
    const uid = runtimeUid(object)
    const isOptedIn = optedIn.has(podKey(object.metadata))
    if (!isOptedIn && !namespaces.includes(namespace)) return []
    return [{ namespace, name, optedIn: isOptedIn, ...(uid === undefined ? {} : { uid }) }]
  })
  return { namespaces, pods }
}

/** Namespaces, and pods of the node: nothing else is in the index. */
function isNear(object: KubernetesObject, node: string): boolean {
  return object.kind === 'Namespace' || (object.kind === 'Pod' && object.spec.nodeName === node)
}

export interface IndexWriterOptions {
  readonly path: string
  readonly node: string
  /** One line; told once for each failure in a row. */
  onFailure(line: string): void
}

export class IndexWriter {
  readonly #options: IndexWriterOptions
  #objects: readonly KubernetesObject[] = []
  #wanted = ''
  #written = ''
  #failing = false
  #writing: Promise<void> | undefined

  constructor(options: IndexWriterOptions) {
    this.#options = options
  }

  /**
   * To be told of whole sets only: one that is empty because the source is not there yet would opt everybody out.
   * Begins to write when anything differs from what was written; of several in a row the last is written.
   */
  update(
    objects: readonly KubernetesObject[],
    { removed, added }: ObjectChange = changedObjects(this.#objects, objects),
  ): void {
    const { node } = this.#options
    this.#objects = objects
    const concerns = [...removed, ...added].some((object) => isNear(object, node))
    if (!concerns && this.#wanted !== '' && this.#wanted === this.#written) return
    this.#wanted = renderPodIndex(podIndexOf(objects, this.#options.node))
    this.#writing ??= this.#catchUp().finally(() => {
      this.#writing = undefined
    })
  }

  /** Resolves when nothing is being written. */
  async idle(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
  }

  async #catchUp(): Promise<void> {
    while (this.#written !== this.#wanted) {
      const text = this.#wanted
      try {
        await replace(this.#options.path, text)
        this.#failing = false
      } catch (thrown) {
        if (!this.#failing)
          this.#options.onFailure(`Index of opted-in pods ${this.#options.path}: ${errorLine(thrown)}`)
        this.#failing = true
        return
      }
      this.#written = text
    }
  }
}

async function replace(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 })
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}
