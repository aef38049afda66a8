/** A Kubernetes source over any API server, and what it tells, awaited one by one. */
import type { ObjectChange } from '#discovery'
import { type KubernetesSource, type KubernetesSourceOptions, openKubernetesSource } from '#discovery/kubernetes'
import { type KubernetesObject, objectKey, renderProblem } from '#resources'

export interface Told {
  readonly objects: readonly KubernetesObject[]
  readonly keys: readonly string[]
  readonly lines: readonly string[]
}

export class FollowedCluster implements AsyncDisposable {
  /** How often the source called so far. */
  calls = 0
  /** What was told first, second, … */
  readonly history: Told[] = []
  last: Told = { objects: [], keys: [], lines: [] }
  /** Problems told before the source was open, each time. */
  readonly waiting: (readonly string[])[] = []
  readonly #options: Omit<KubernetesSourceOptions, 'onChange'>
  #source: KubernetesSource | undefined
  #waiters: (() => void)[] = []

  constructor(options: Omit<KubernetesSourceOptions, 'onChange'>) {
    this.#options = options
  }

  get source(): KubernetesSource {
    if (this.#source === undefined) throw new Error('The source is not open yet')
    return this.#source
  }

  /** Opens the source and gives the first set. */
  async open(): Promise<Told> {
    this.#source = await openKubernetesSource({
      // Short enough for a test, long enough to be a wait.
      backoff: { baseMs: 5, maxMs: 20 },
      lookMs: 20,
      gapMs: 1,
      ...this.#options,
      onChange: (objects, { problems, change }) => {
        this.calls++
        assertLeads(this.last.objects, objects, change)
        this.last = { objects: [...objects], keys: objects.map(objectKey), lines: problems.map(renderProblem) }
        this.history.push(this.last)
        this.#wake()
      },
      onWaiting: ({ problems }) => {
        this.waiting.push(problems.map(renderProblem))
        this.#wake()
      },
    })
    return this.last
  }

  /** The first state told, the present one included, for which the condition holds. */
  async until(condition: (told: Told) => boolean): Promise<Told> {
    while (!condition(this.last)) await this.#change()
    return this.last
  }

  /** The problems told while opening, from the first time that one of them fits. */
  async untilWaiting(pattern: RegExp): Promise<readonly string[]> {
    for (;;) {
      const found = this.waiting.find((lines) => lines.some((line) => pattern.test(line)))
      if (found !== undefined) return found
      await this.#change()
    }
  }

  find(key: string): KubernetesObject | undefined {
    return this.last.objects.find((object) => objectKey(object) === key)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source?.[Symbol.asyncDispose]()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve))
  }

  #wake(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const resolve of waiters) resolve()
  }
}

/** What the source says has changed is what has. */
function assertLeads(
  before: readonly KubernetesObject[],
  now: readonly KubernetesObject[],
  change: ObjectChange | undefined,
): void {
  const set = new Set(before)
  for (const object of change?.removed ?? [])
    if (!set.delete(object)) throw new Error(`not there: ${objectKey(object)}`)
  for (const object of change?.added ?? []) {
    if (set.has(object)) throw new Error(`there already: ${objectKey(object)}`)
    set.add(object)
  }
  if (set.size !== now.length || !now.every((object) => set.has(object))) throw new Error('another set than was told')
}
