/**
 * The agent's side of its log thread: started when there is something to read, started again when it dies, and asked on
 * behalf of readers. Where the folder of the pods' logs is not there, there is no thread.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { errorLine, startInterval, startTimer } from '#base'
import type { LogPod, LogQuery, LogsConfig, LogsStatus } from '#logs'
import type { AgentLog } from '../log.ts'
import { WorkerThread } from '../worker-thread.ts'
import type { FromLogWorker, LogWorkerData, ToLogWorker } from './log-messages.ts'

export interface LogReaderHandlers {
  /** JSON lines; `acknowledge` when they have left. */
  frame(text: string): void
  /** Once; `problem` is empty when nothing is wrong. */
  ended(problem: string): void
}

export interface LogReader {
  acknowledge(): void
  close(): void
}

export interface LogDeskOptions {
  readonly config: LogsConfig
  readonly log: AgentLog
  /** Pods of this node. */
  readonly pods: () => readonly LogPod[]
}

const MODULE = new URL('./log-worker.ts', import.meta.url)
/** Half of it is what lines can make it take; beyond that the thread ends, and begins anew where it was. */
const HEAP_MIB = { old: 256, young: 16 }
const LOOK_MS = 10_000
const RESTART_MS = 5_000
const STATUS_TIMEOUT_MS = 2_000
const STOP_TIMEOUT_MS = 5_000
/** Changes of the world come in bursts. */
const PODS_DELAY_MS = 100

export class LogDesk {
  readonly #options: LogDeskOptions
  readonly #thread: WorkerThread<ToLogWorker, FromLogWorker>
  readonly #readers = new Map<number, LogReaderHandlers>()
  readonly #asked = new Map<number, (status: LogsStatus | undefined) => void>()
  #look: Disposable | undefined
  #restart: Disposable | undefined
  #podsTimer: Disposable | undefined
  #begun = false
  #stopped = false
  #lastId = 0

  constructor(options: LogDeskOptions) {
    this.#options = options
    const { config, log } = options
    const workerData: LogWorkerData = { config }
    this.#thread = new WorkerThread({
      module: MODULE,
      name: 'log',
      workerData,
      heapMib: HEAP_MIB,
      stopTimeoutMs: STOP_TIMEOUT_MS,
      log,
      first: () => this.#prepare(),
      onMessage: (message) => this.#heard(message),
      onEnded: () => this.#ended(),
    })
  }

  /** From now on this agent is the one of its node that keeps and ships. */
  begin(): void {
    this.#begun = true
    const start = () => {
      if (!existsSync(this.#options.config.root)) return
      this.#look?.[Symbol.dispose]()
      this.#thread.say({ type: 'begin' })
    }
    this.#look = startInterval(LOOK_MS, start)
    start()
  }

  /** The world has changed. */
  podsChanged(): void {
    if (!this.#thread.isRunning || this.#podsTimer !== undefined) return
    this.#podsTimer = startTimer(PODS_DELAY_MS, () => {
      this.#podsTimer = undefined
      this.#thread.sayIfRunning({ type: 'pods', pods: this.#options.pods() })
    })
  }

  open(query: LogQuery, handlers: LogReaderHandlers): LogReader {
    const id = ++this.#lastId
    this.#readers.set(id, handlers)
    this.#thread.say({ type: 'pods', pods: this.#options.pods() })
    this.#thread.say({ type: 'open', id, query })
    return {
      acknowledge: () => this.#thread.sayIfRunning({ type: 'acknowledge', id }),
      close: () => {
        this.#readers.delete(id)
        this.#thread.sayIfRunning({ type: 'close', id })
      },
    }
  }

  /** Undefined while there is no thread, or it does not answer. */
  status(): Promise<LogsStatus | undefined> {
    if (!this.#thread.isRunning) return Promise.resolve(undefined)
    const id = ++this.#lastId
    const { promise, resolve } = Promise.withResolvers<LogsStatus | undefined>()
    const late = startTimer(STATUS_TIMEOUT_MS, () => this.#asked.get(id)?.(undefined))
    this.#asked.set(id, (status) => {
      late[Symbol.dispose]()
      this.#asked.delete(id)
      resolve(status)
    })
    this.#thread.say({ type: 'status', id })
    return promise
  }

  /** Resolves when places are kept: another agent may go on from there. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#look?.[Symbol.dispose]()
    this.#restart?.[Symbol.dispose]()
    this.#podsTimer?.[Symbol.dispose]()
    await this.#thread.stop({ type: 'stop' })
  }

  /** What a thread that has just started is told first. */
  #prepare(): readonly ToLogWorker[] {
    const { config, pods } = this.#options
    mkdirSync(config.stateFolder, { recursive: true, mode: 0o700 })
    return [{ type: 'pods', pods: pods() }]
  }

  #heard(message: FromLogWorker): void {
    switch (message.type) {
      case 'frame':
        this.#readers.get(message.id)?.frame(message.text)
        break
      case 'ended':
        this.#end(message.id, message.problem)
        break
      case 'status':
        this.#asked.get(message.id)?.(message.status)
        break
      default:
        message satisfies never
    }
  }

  #end(id: number, problem: string): void {
    const reader = this.#readers.get(id)
    this.#readers.delete(id)
    reader?.ended(problem)
  }

  #ended(): void {
    for (const answer of [...this.#asked.values()]) answer(undefined)
    for (const id of [...this.#readers.keys()]) this.#end(id, 'The log thread of the agent ended; ask again')
    if (this.#stopped || !this.#begun) return
    this.#restart?.[Symbol.dispose]()
    this.#restart = startTimer(RESTART_MS, () => {
      try {
        this.#thread.say({ type: 'begin' })
      } catch (thrown) {
        this.#options.log.error({ problem: errorLine(thrown) }, 'log thread not started')
      }
    })
  }
}
