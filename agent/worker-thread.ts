/**
 * A thread of the agent with a heap of its own: started with the first thing that it is told, and told to end in bounded
 * time. That it dies takes nothing else along; whoever has it hears of that, and starts it again by telling it more.
 */
import { Worker } from 'node:worker_threads'
import { startTimer } from '#base'
import { FULL, HEAP_FULL } from './heap-guard.ts'
import type { AgentLog } from './log.ts'

/** What every thread tells. */
export type FromAnyWorker =
  | { readonly type: 'problem'; readonly problem: string }
  /** As it was told to. */
  | { readonly type: 'stopped' }

export interface WorkerThreadOptions<To, From> {
  readonly module: URL
  /** As in `NAME thread failed`. */
  readonly name: string
  readonly workerData: unknown
  /** Limits: once half of the old space is in use the thread ends (`guardHeap`, which it is to call). */
  readonly heapMib: { readonly old: number; readonly young: number }
  /** How long it may take to end. */
  readonly stopTimeoutMs: number
  readonly log: AgentLog
  /** What a thread that is about to start is told first. */
  first?(): readonly To[]
  onMessage(message: From): void
  /** It has ended, whoever wanted it. */
  onEnded(): void
}

export class WorkerThread<To extends { readonly type: string }, From extends { readonly type: string }> {
  readonly #options: WorkerThreadOptions<To, From>
  #worker: Worker | undefined
  #stopping: PromiseWithResolvers<void> | undefined

  constructor(options: WorkerThreadOptions<To, From>) {
    this.#options = options
  }

  get isRunning(): boolean {
    return this.#worker !== undefined
  }

  /** Starts it where it is not running, unless it was told to end. @throws when it cannot be started */
  say(message: To): void {
    if (this.#stopping !== undefined) return
    this.#worker ??= this.#start()
    this.#worker.postMessage(message)
  }

  /** Of no matter to a thread that knows nothing yet. */
  sayIfRunning(message: To): void {
    this.#worker?.postMessage(message)
  }

  /** Resolves when it has ended. @param last tells it to */
  async stop(last: To): Promise<void> {
    const worker = this.#worker
    this.#stopping ??= Promise.withResolvers<void>()
    if (worker === undefined) return
    const late = startTimer(this.#options.stopTimeoutMs, this.#stopping.resolve)
    worker.postMessage(last)
    await this.#stopping.promise
    late[Symbol.dispose]()
    await worker.terminate()
  }

  #start(): Worker {
    const { module, name, workerData, heapMib, log, first, onEnded } = this.#options
    const resourceLimits = { maxOldGenerationSizeMb: heapMib.old, maxYoungGenerationSizeMb: heapMib.young }
    const told = first?.() ?? []
    const worker = new Worker(module, { workerData, resourceLimits, name })
    for (const message of told) worker.postMessage(message)
    worker.on('message', (message: From | FromAnyWorker) => this.#heard(message))
    worker.on('error', (thrown) => {
      if (isHeapFull(thrown)) {
        const problem = `The ${name} thread needed more than its ${heapMib.old * FULL} MiB of memory and was ended; what it held is lost, and it begins anew`
        log.error({ problem }, `${name} thread failed`)
      } else {
        log.error({ err: thrown }, `${name} thread failed`)
      }
    })
    worker.on('exit', () => {
      this.#worker = undefined
      this.#stopping?.resolve()
      onEnded()
    })
    return worker
  }

  #heard(message: From | FromAnyWorker): void {
    if (isOfAny(message)) {
      if (message.type === 'problem') this.#options.log.warn({ problem: message.problem }, 'problem')
      else this.#stopping?.resolve()
      return
    }
    this.#options.onMessage(message)
  }
}

function isOfAny(message: { readonly type: string }): message is FromAnyWorker {
  return message.type === 'problem' || message.type === 'stopped'
}

/** Its own guard ended it, or Node, which says `ERR_WORKER_OUT_OF_MEMORY`. */
function isHeapFull(thrown: unknown): boolean {
  if (!(thrown instanceof Error) || !('code' in thrown)) return false
  return thrown.code === HEAP_FULL || thrown.code === 'ERR_WORKER_OUT_OF_MEMORY'
}
