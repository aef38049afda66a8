/**
 * Where the agent that is to come after this one announces itself. One at a time, others wait at the door. Only root may
 * knock, and who talks nonsense is shown out.
 */
import { rmSync, statSync } from 'node:fs'
import { errorLine, startInterval } from '#base'
import { acceptPackets, closeFd, listenPackets } from '#linux'
import type { AgentLog } from '../log.ts'
import { Successor } from './successor.ts'

export interface SuccessorDoorOptions {
  /** STATE_DIR/hand-over.sock. */
  readonly path: string
  readonly node: string
  readonly log: Pick<AgentLog, 'info' | 'warn'>
}

const ACCEPT_MS = 100

export class SuccessorDoor implements Disposable {
  readonly #options: SuccessorDoorOptions
  readonly #listening: number
  readonly #inode: bigint | undefined
  readonly #accepting: Disposable
  #guest: Successor | undefined
  #shut = false

  /** @throws LinuxError or WeirError when it cannot listen there */
  constructor(options: SuccessorDoorOptions) {
    this.#options = options
    this.#listening = listenPackets(options.path)
    this.#inode = inodeOf(options.path)
    this.#accepting = startInterval(ACCEPT_MS, () => this.#accept())
  }

  /** Who could serve at once, if anybody. */
  get successor(): Successor | undefined {
    return this.#guest?.isReady === true ? this.#guest : undefined
  }

  /** Nobody comes in any more. */
  shut(): void {
    if (this.#shut) return
    this.#shut = true
    this.#accepting[Symbol.dispose]()
    closeFd(this.#listening)
    // By then the path may be the next agent's.
    if (inodeOf(this.#options.path) === this.#inode) rmSync(this.#options.path, { force: true })
  }

  [Symbol.dispose](): void {
    this.shut()
    this.#guest?.[Symbol.dispose]()
    this.#guest = undefined
  }

  #accept(): void {
    if (this.#guest !== undefined) return
    const { node, log } = this.#options
    try {
      const fd = acceptPackets(this.#listening)
      if (fd === undefined) return
      const guest = new Successor(fd, {
        node,
        onReady: (pid) => log.info({ successorPid: pid }, 'successor ready'),
        onGone: (reason) => {
          log.info({ reason }, 'successor gone')
          if (this.#guest === guest) this.#guest = undefined
        },
      })
      this.#guest = guest
    } catch (thrown) {
      log.warn({ reason: errorLine(thrown) }, 'successor not let in')
    }
  }
}

function inodeOf(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
}
