/** Waiting between tries, which ends early when there is a reason to, and always with its owner. */
export class Pause {
  #wake: (() => void) | undefined

  /** Resolves after `ms`, at wake(), or when the signal is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        this.#wake = undefined
        resolve()
      }
      const timer = setTimeout(end, ms)
      signal.addEventListener('abort', end, { once: true })
      this.#wake = end
    })
  }

  wake(): void {
    this.#wake?.()
  }
}
