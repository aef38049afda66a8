/** One proxy process from start to exit: how it is started without privileges, and what is said to it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { WeirError } from '#base'
import type { AgentToProxy, ProxyQuery, ProxyToAgent } from '#contract'
import { closeFd, openFdChannel } from '#linux'
import { Outbox } from './outbox.ts'

export interface ProxyProcessOptions {
  /** The program: its own code, started with this Node. */
  readonly mainPath: string
  readonly uid: number
  /** Where compiled code is kept between starts; saves each proxy some 30 MiB and the compiler's time. */
  readonly compileCacheDir: string
  /** Where its access log goes: a descriptor of the agent's, or the agent's own standard output. */
  readonly output: number | 'inherit'
  onMessage(message: ProxyToAgent): void
  /** Once, whatever the reason; `reason` in words. */
  onExit(reason: string): void
}

const QUERY_TIMEOUT_MS = 2_000

export class ProxyProcess {
  readonly #child: ChildProcess
  readonly #outbox: Outbox
  readonly #queries = new Map<number, { resolve(data: unknown): void; reject(error: Error): void }>()
  #queryId = 0
  #ended = false

  constructor(options: ProxyProcessOptions) {
    const [channel, childEnd] = openFdChannel()
    // No program below setpriv can gain a privilege; the proxy gives up its uid once its code is loaded. A session
    // of its own: a Ctrl-C in the terminal is the agent's to act on.
    this.#child = spawn(
      'setpriv',
      ['--no-new-privs', process.execPath, options.mainPath, '--uid', String(options.uid)],
      {
        stdio: ['ignore', options.output, 'inherit', 'ipc', childEnd],
        // One arena of memory for all threads: the others hold little, and never give it back.
        env: { PATH: '/usr/bin:/bin', NODE_COMPILE_CACHE: options.compileCacheDir, MALLOC_ARENA_MAX: '1' },
        detached: true,
      },
    )
    closeFd(childEnd)
    this.#outbox = new Outbox({
      channel,
      sendMessage: (message) => {
        if (this.#child.connected) this.#child.send(message, () => undefined)
      },
      onBroken: () => this.kill(),
    })
    const end = (reason: string) => {
      if (this.#ended) return
      this.#ended = true
      this.#outbox[Symbol.dispose]()
      closeFd(channel)
      for (const { reject } of this.#queries.values())
        reject(new WeirError('WEIR_AGENT_PROXY_GONE', `The proxy ${reason}.`))
      this.#queries.clear()
      options.onExit(reason)
    }
    this.#child.on('message', (message: ProxyToAgent) => {
      if (message.type === 'answer') this.#settleQuery(message.id, message.data)
      else options.onMessage(message)
    })
    this.#child.on('error', (error) => end(`could not be started: ${error.message}`))
    this.#child.on('exit', (code, signal) =>
      end(signal === null ? `exited with status ${code}` : `was ended by ${signal}`),
    )
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get isBehind(): boolean {
    return this.#outbox.isBehind
  }

  send(message: AgentToProxy): void {
    this.#outbox.send(message)
  }

  sendWithFds(makeMessage: (ticket: number) => AgentToProxy, fds: readonly number[], closeAfter: boolean): void {
    this.#outbox.sendWithFds(makeMessage, fds, closeAfter)
  }

  /** The answer, unchecked. @throws WeirError when the proxy is gone or silent for two seconds */
  query(what: ProxyQuery): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#queryId += 1
    const id = this.#queryId
    if (this.#ended) {
      return Promise.reject(new WeirError('WEIR_AGENT_PROXY_GONE', 'The proxy has ended.'))
    }
    const timer = setTimeout(() => {
      this.#queries.delete(id)
      reject(new WeirError('WEIR_AGENT_PROXY_SILENT', `The proxy did not answer within ${QUERY_TIMEOUT_MS} ms.`))
    }, QUERY_TIMEOUT_MS)
    this.#queries.set(id, {
      resolve: (data) => {
        clearTimeout(timer)
        resolve(data)
      },
      reject: (error) => {
        clearTimeout(timer)
        reject(error)
      },
    })
    this.send({ type: 'query', id, what })
    return promise
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #settleQuery(id: number, data: unknown): void {
    const waiting = this.#queries.get(id)
    this.#queries.delete(id)
    waiting?.resolve(data)
  }
}
