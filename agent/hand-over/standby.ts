/**
 * An agent that waits for its turn beside the one that runs: as its successor, which is given all sockets, or, where that
 * one cannot hand over, just for the state directory.
 */
import { errorLine, startTimer, WeirError } from '#base'
import { closeFd, connectPackets } from '#linux'
import { closeListeners } from '../broker/listeners.ts'
import type { AgentLog } from '../log.ts'
import { HandOverChannel } from './channel.ts'
import { HandedPods } from './handed-pods.ts'
import { HAND_OVER_VERSION, type HandOverMessage } from './messages.ts'

export interface StandbyOptions {
  /** STATE_DIR/hand-over.sock. */
  readonly path: string
  readonly node: string
  readonly log: Pick<AgentLog, 'info' | 'warn'>
  /** Takes the state directory; false while another agent holds it. */
  tryTake(): boolean
}

/** What the agent before left. */
export interface Inheritance {
  /** False: it died, or knows no hand-over, and left what is in the kernel and on the disk. */
  readonly handedOver: boolean
  readonly pods: HandedPods
  /** Tells it that all pods are served here. */
  taken(): void
  /** Resolves when it has ended, its last connections with it. */
  readonly predecessorGone: Promise<void>
}

const RETRY_MS = 100
/** An agent that has just started opens its door within this; one that has none is older than doors. */
const DOOR_MS = 3_000
/** The old agent has let go of the directory before it says so. */
const LOCK_TRIES = 50

export class Standby implements Disposable {
  readonly #options: StandbyOptions
  readonly #placed = Promise.withResolvers<void>()
  readonly #turn = Promise.withResolvers<Inheritance>()
  readonly #gone = Promise.withResolvers<void>()
  #channel: HandOverChannel | undefined
  #pods = new HandedPods()
  #retry: Disposable | undefined
  #ready = false
  #ended = false
  #doorless = 0
  /** There is nobody to take over from: it waits for the state directory. */
  #apart = false

  constructor(options: StandbyOptions) {
    this.#options = options
    // Who never asks for the outcome is told of it in other ways.
    this.#turn.promise.catch(() => undefined)
    this.#try()
  }

  /** Resolves when it is known as the successor, or knows that it cannot be and waits for the state directory. */
  get placed(): Promise<void> {
    return this.#placed.promise
  }

  /** Resolves when the state directory is ours. @throws WeirError after `[Symbol.dispose]` */
  get turn(): Promise<Inheritance> {
    return this.#turn.promise
  }

  /** From now on the turn may come with everything that the other agent has. */
  sayReady(): void {
    this.#ready = true
    this.#channel?.send({ type: 'ready' })
  }

  [Symbol.dispose](): void {
    this.#retry?.[Symbol.dispose]()
    this.#channel?.[Symbol.dispose]()
    if (this.#ended) return
    this.#ended = true
    this.#pods[Symbol.dispose]()
    this.#turn.reject(new WeirError('WEIR_AGENT_STANDBY', 'Stopped before its turn came.'))
  }

  #try(): void {
    if (this.#ended || this.#takeTurn(false)) return
    if (this.#apart) {
      this.#again()
      return
    }
    const { path, node } = this.#options
    try {
      const channel = new HandOverChannel(connectPackets(path), {
        onMessage: (message, fds) => this.#hear(channel, message, fds),
        onClosed: (why) => this.#lost(why),
      })
      this.#channel = channel
      channel.send({ type: 'hello', version: HAND_OVER_VERSION, node, pid: process.pid })
    } catch (thrown) {
      this.#doorless += 1
      if (this.#doorless * RETRY_MS >= DOOR_MS) this.#waitApart(errorLine(thrown))
      this.#again()
    }
  }

  #again(): void {
    if (this.#ended) return
    this.#retry = startTimer(RETRY_MS, () => this.#try())
  }

  #hear(channel: HandOverChannel, message: HandOverMessage, fds: readonly number[]): void {
    switch (message.type) {
      case 'welcome':
        this.#doorless = 0
        this.#options.log.info({ predecessorPid: message.pid }, 'successor of a running agent')
        this.#placed.resolve()
        if (this.#ready) channel.send({ type: 'ready' })
        return
      case 'pod': {
        const [netnsFd = -1, ...sockets] = fds
        const listeners = message.listeners.map((spec, i) => ({ spec, fd: sockets[i] ?? -1 }))
        this.#take({ uid: message.uid, workload: message.workload, netnsFd, listeners })
        return
      }
      case 'pods-sent':
        if (message.pods === this.#pods.size) channel.send({ type: 'received', pods: message.pods })
        return
      case 'yours':
        this.#takeOver(channel)
        return
      case 'refused':
        this.#waitApart(message.why)
        return
      default:
        // What only a successor says: it is told so by what it does not get.
        return
    }
  }

  #take(pod: Parameters<HandedPods['add']>[0]): void {
    try {
      this.#pods.add(pod)
    } catch (thrown) {
      closeListeners(pod.listeners)
      closeFd(pod.netnsFd)
      this.#options.log.warn({ pod: pod.workload, reason: errorLine(thrown) }, 'pod not taken over')
    }
  }

  #takeOver(channel: HandOverChannel, tries = 0): void {
    if (this.#ended || this.#takeTurn(true)) return
    if (tries < LOCK_TRIES) this.#retry = startTimer(RETRY_MS, () => this.#takeOver(channel, tries + 1))
    else {
      channel[Symbol.dispose]()
      this.#lost('another agent has the state directory')
    }
  }

  #takeTurn(handed: boolean): boolean {
    if (!this.#options.tryTake()) return false
    this.#ended = true
    this.#placed.resolve()
    if (!handed) this.#gone.resolve()
    this.#turn.resolve({
      handedOver: handed,
      pods: this.#pods,
      taken: () => this.#channel?.send({ type: 'taken' }),
      predecessorGone: this.#gone.promise,
    })
    return true
  }

  /** It died, or hands over to nobody: what it handed over half is closed, and whoever is first has the turn. */
  #lost(why: string): void {
    this.#channel = undefined
    this.#gone.resolve()
    if (this.#ended) return
    this.#options.log.info({ reason: why }, 'running agent out of reach')
    this.#pods[Symbol.dispose]()
    this.#pods = new HandedPods()
    this.#again()
  }

  #waitApart(why: string): void {
    if (this.#apart) return
    this.#apart = true
    this.#options.log.warn({ reason: why }, 'no hand-over: waits for the end of the running agent')
    this.#placed.resolve()
  }
}
