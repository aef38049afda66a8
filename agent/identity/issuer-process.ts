/**
 * One process that makes certificates, from start to end: asked over its IPC channel, ended when nothing was asked
 * for a while. It keeps no state that this process does not know, so it is ended without ceremony.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { getCompileCacheDir } from 'node:module'
import { fileURLToPath } from 'node:url'
import { WeirError } from '#base'
import type { CaSnapshot } from '#identity/ca'
import type { Clock } from './clock.ts'
import type { AgentToIssuer, IssuerAnswer, IssuerConfig, IssuerRequest, IssuerToAgent } from './issuer-messages.ts'

export interface IssuerProcessOptions {
  readonly config: IssuerConfig
  /** What the process before told last. */
  readonly snapshot: CaSnapshot | undefined
  readonly clock: Clock
  onSnapshot(snapshot: CaSnapshot): void
  onWarning(line: string): void
  /** Once, before the calls under way are told: another process is to be started for the next. */
  onEnd(): void
}

interface Call {
  resolve(answer: IssuerAnswer): void
  reject(error: Error): void
}

/** Loading what makes certificates takes some 200 ms; certificates of a rollout come within this. */
export const IDLE_MS = 5_000
/** Longest time without any answer while one is due; making a directory's CA may wait 30 s for another maker. */
const SILENCE_MS = 60_000
const MAIN = fileURLToPath(import.meta.resolve('./issuer-main.ts'))

export class IssuerProcess implements Disposable {
  readonly #options: IssuerProcessOptions
  readonly #child: ChildProcess
  readonly #calls = new Map<number, Call>()
  #lastId = 0
  #timer: Disposable | undefined
  #ended = false

  constructor(options: IssuerProcessOptions) {
    this.#options = options
    const compileCacheDir = getCompileCacheDir()
    // A session of its own: a Ctrl-C in the terminal is the agent's to act on.
    this.#child = spawn(process.execPath, [MAIN], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: compileCacheDir === undefined ? {} : { NODE_COMPILE_CACHE: compileCacheDir },
      detached: true,
    })
    this.#child.on('message', (message: IssuerToAgent) => this.#take(message))
    this.#child.on('error', (error) => this.#end(`could not be started: ${error.message}`))
    this.#child.on('exit', (code, signal) =>
      this.#end(signal === null ? `exited with status ${code}` : `was ended by ${signal}`),
    )
    const { config, snapshot } = options
    this.#send({ kind: 'begin', config, ...(snapshot === undefined ? {} : { snapshot }) })
  }

  /**
   * @throws WeirError of the process, or WEIR_IDENTITY_PROCESS when it ended
   */
  ask(request: IssuerRequest, signal?: AbortSignal): Promise<IssuerAnswer> {
    if (this.#ended) return Promise.reject(gone('has ended'))
    const { promise, resolve, reject } = Promise.withResolvers<IssuerAnswer>()
    this.#lastId += 1
    const id = this.#lastId
    const cancel = () => this.#send({ kind: 'cancel', id })
    const settled = () => signal?.removeEventListener('abort', cancel)
    this.#calls.set(id, {
      resolve: (answer) => {
        settled()
        resolve(answer)
      },
      reject: (error) => {
        settled()
        reject(error)
      },
    })
    if (this.#calls.size === 1) this.#setTimer()
    this.#send({ kind: 'ask', id, request })
    signal?.addEventListener('abort', cancel)
    if (signal?.aborted) cancel()
    return promise
  }

  [Symbol.dispose](): void {
    this.#end('was ended with the agent')
  }

  #send(message: AgentToIssuer): void {
    // That it cannot be told is told by its exit.
    if (this.#child.connected) this.#child.send(message, () => undefined)
  }

  #take(message: IssuerToAgent): void {
    if (this.#ended) return
    switch (message.kind) {
      case 'snapshot':
        this.#options.onSnapshot(message.snapshot)
        break
      case 'warning':
        this.#options.onWarning(message.line)
        break
      case 'answer':
        this.#settle(message.id, (call) => call.resolve(message.answer))
        break
      case 'failure': {
        const { id, code, message: text } = message
        const error = code === undefined ? new Error(text) : new WeirError(code, text)
        this.#settle(id, (call) => call.reject(error))
      }
    }
  }

  #settle(id: number, how: (call: Call) => void): void {
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    this.#setTimer()
    if (call !== undefined) how(call)
  }

  #setTimer(): void {
    this.#timer?.[Symbol.dispose]()
    const idle = this.#calls.size === 0
    this.#timer = this.#options.clock.after(idle ? IDLE_MS : SILENCE_MS, () =>
      this.#end(idle ? 'was idle' : `gave no answer for ${SILENCE_MS / 1000} s and was ended`),
    )
  }

  #end(how: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#timer?.[Symbol.dispose]()
    this.#child.kill('SIGKILL')
    this.#options.onEnd()
    for (const call of this.#calls.values()) call.reject(gone(how))
    this.#calls.clear()
  }
}

function gone(how: string): WeirError {
  return new WeirError('WEIR_IDENTITY_PROCESS', `The process that makes certificates ${how}`)
}
