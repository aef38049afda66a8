/** Runs jobs of the same key one after the other, jobs of different keys side by side. */

export class KeyedQueue {
  readonly #tails = new Map<string, Promise<unknown>>()

  /** Resolves with the job's own outcome; a failed job does not stop those behind it. */
  run<T>(key: string, job: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve()
    const mine = before.then(job, job)
    const tail = mine.then(
      () => undefined,
      () => undefined,
    )
    this.#tails.set(key, tail)
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    })
    return mine
  }

  /** Keys with a job running or waiting. */
  get size(): number {
    return this.#tails.size
  }

  /** Resolves when all jobs queued so far have ended. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails.values())
  }
}

/** Bounds how many jobs run side by side, whatever their key. */
export class Semaphore {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(slots: number) {
    this.#free = slots
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await job()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free += 1
      else next()
    }
  }
}
