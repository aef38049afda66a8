/** The agent that comes after this one, as this one sees it: who it is, whether it could serve, and what it was given. */
import { startTimer } from '#base'
import { closeFd } from '#linux'
import { HandOverChannel } from './channel.ts'
import type { HandedPod } from './handed-pods.ts'
import { HAND_OVER_VERSION, type HandOverMessage } from './messages.ts'

export interface SuccessorOptions {
  readonly node: string
  onReady(pid: number): void
  /** Once; `why` in words. */
  onGone(why: string): void
}

/** For its first word. */
const HELLO_MS = 2_000
/** For taking the sockets; it has nothing else to do. */
const RECEIVE_MS = 3_000
/** For serving all pods: rules are verified first. Kubernetes kills 30 s after SIGTERM, and connections drain for 10 s. */
const TAKE_MS = 10_000

export class Successor implements Disposable {
  readonly #options: SuccessorOptions
  readonly #channel: HandOverChannel
  readonly #patience: Disposable
  /** Undefined until it has said who it is. */
  #pid: number | undefined
  #ready = false
  #gone = false
  #expected: { readonly type: HandOverMessage['type']; resolve(came: boolean): void } | undefined

  /** @param fd its connection, the successor's from now on */
  constructor(fd: number, options: SuccessorOptions) {
    this.#options = options
    this.#channel = new HandOverChannel(fd, {
      onMessage: (message, fds) => {
        // None are asked for.
        for (const stray of fds) closeFd(stray)
        this.#hear(message)
      },
      onClosed: (why) => this.#leave(why),
    })
    this.#patience = startTimer(HELLO_MS, () => this.#leave('it did not say who it is'))
  }

  /** It could serve at once. */
  get isReady(): boolean {
    return this.#ready && !this.#gone
  }

  /** Hands over sockets, which stay open here too: true once it has all of them. */
  async giveSockets(pods: readonly HandedPod[]): Promise<boolean> {
    const received = this.#expect('received', RECEIVE_MS)
    for (const { uid, workload, netnsFd, listeners } of pods) {
      const specs = listeners.map(({ spec }) => spec)
      const fds = [netnsFd, ...listeners.map(({ fd }) => fd)]
      this.#channel.send({ type: 'pod', uid, workload, listeners: specs }, fds)
    }
    this.#channel.send({ type: 'pods-sent', pods: pods.length })
    return await received
  }

  /** Tells that the state directory is free: true once it serves all pods. */
  async giveWay(): Promise<boolean> {
    const taken = this.#expect('taken', TAKE_MS)
    this.#channel.send({ type: 'yours' })
    return await taken
  }

  [Symbol.dispose](): void {
    this.#gone = true
    this.#patience[Symbol.dispose]()
    this.#channel[Symbol.dispose]()
    this.#expected?.resolve(false)
  }

  #hear(message: HandOverMessage): void {
    if (message.type === 'hello' && this.#pid === undefined) this.#meet(message)
    else if (message.type === 'ready' && this.#pid !== undefined) {
      if (!this.#ready) this.#options.onReady(this.#pid)
      this.#ready = true
    } else if (message.type === this.#expected?.type) this.#expected.resolve(true)
    else this.#leave(`it said ${message.type} out of turn`)
  }

  #meet({ version, node, pid }: Extract<HandOverMessage, { type: 'hello' }>): void {
    this.#patience[Symbol.dispose]()
    const why =
      version !== HAND_OVER_VERSION
        ? `it speaks version ${version} of the hand-over, this agent ${HAND_OVER_VERSION}`
        : `it is the agent of node ${node}, this is the one of ${this.#options.node}`
    if (version === HAND_OVER_VERSION && node === this.#options.node) {
      this.#pid = pid
      this.#channel.send({ type: 'welcome', version, pid: process.pid })
      return
    }
    this.#channel.send({ type: 'refused', why })
    this.#leave(why)
  }

  #expect(type: HandOverMessage['type'], timeoutMs: number): Promise<boolean> {
    if (this.#gone) return Promise.resolve(false)
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const timer = startTimer(timeoutMs, () => resolve(false))
    this.#expected = { type, resolve }
    return promise.finally(() => {
      timer[Symbol.dispose]()
      this.#expected = undefined
    })
  }

  #leave(why: string): void {
    if (this.#gone) return
    this[Symbol.dispose]()
    this.#options.onGone(why)
  }
}
