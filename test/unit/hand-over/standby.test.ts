import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { acceptPackets, closeFd, listenPackets } from '#linux'
import { HandOverChannel } from '../../../agent/hand-over/channel.ts'
import type { HandOverMessage } from '../../../agent/hand-over/messages.ts'
import { Standby } from '../../../agent/hand-over/standby.ts'

// The channels alone keep no process alive.
const alive = setInterval(() => undefined, 1_000)
t.teardown(() => clearInterval(alive))
const log = { info: () => undefined, warn: () => undefined }

/** A running agent that says what it is told to. */
class Predecessor implements Disposable {
  readonly path: string
  readonly heard: HandOverMessage[] = []
  readonly #listening: number
  readonly #dir: string
  #channel: HandOverChannel | undefined
  #told: () => void = () => undefined

  constructor() {
    this.#dir = mkdtempSync(join(tmpdir(), 'weir-hand-over-'))
    this.path = join(this.#dir, 'hand-over.sock')
    this.#listening = listenPackets(this.path)
  }

  async accept(): Promise<void> {
    this.#channel?.[Symbol.dispose]()
    this.heard.splice(0)
    for (;;) {
      const fd = acceptPackets(this.#listening)
      if (fd !== undefined) {
        this.#channel = new HandOverChannel(fd, {
          onMessage: (message) => {
            this.heard.push(message)
            this.#told()
          },
          onClosed: () => undefined,
        })
        return
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  say(message: HandOverMessage, fds: readonly number[] = []): void {
    this.#channel?.send(message, fds)
  }

  die(): void {
    this.#channel?.[Symbol.dispose]()
  }

  async hear(type: HandOverMessage['type']): Promise<HandOverMessage> {
    for (;;) {
      const found = this.heard.find((message) => message.type === type)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        this.#told = resolve
      })
    }
  }

  [Symbol.dispose](): void {
    this.die()
    closeFd(this.#listening)
    rmSync(this.#dir, { recursive: true })
  }
}

const welcome = { type: 'welcome', version: 1, pid: 1 } as const

t.test('it is given the pods, then the state directory, and says when it serves them', async (t) => {
  using predecessor = new Predecessor()
  let free = false
  using standby = new Standby({ path: predecessor.path, node: 'n1', log, tryTake: () => free })
  await predecessor.accept()
  t.match(await predecessor.hear('hello'), { version: 1, node: 'n1', pid: process.pid })
  predecessor.say(welcome)
  await standby.placed
  standby.sayReady()
  await predecessor.hear('ready')
  const netnsFd = openSync('/proc/self/ns/net', 'r')
  const socket = openSync('/dev/null', 'r')
  const spec = { direction: 'inbound', family: 4, port: 15006 } as const
  predecessor.say({ type: 'pod', uid: 'u', workload: 'shop/web', listeners: [spec] }, [netnsFd, socket])
  predecessor.say({ type: 'pods-sent', pods: 1 })
  t.same(await predecessor.hear('received'), { type: 'received', pods: 1 })
  free = true
  predecessor.say({ type: 'yours' })
  const inheritance = await standby.turn
  t.equal(inheritance.pods.size, 1)
  const { dev, ino } = fstatSync(netnsFd, { bigint: true })
  t.same(inheritance.pods.take('1:1'), [], 'of another namespace there is nothing')
  const [listener, ...more] = inheritance.pods.take(`${dev}:${ino}`)
  t.same(more, [])
  t.same(listener?.spec, spec)
  t.equal(fstatSync(listener?.fd ?? -1).rdev, fstatSync(socket).rdev)
  t.same(inheritance.pods.take(`${dev}:${ino}`), [], 'once')
  for (const fd of [netnsFd, socket, listener?.fd ?? -1]) closeSync(fd)
  inheritance.taken()
  await predecessor.hear('taken')
  predecessor.die()
  await inheritance.predecessorGone
})

t.test('what was handed over half is closed, and the turn comes when the state directory is free', async (t) => {
  using predecessor = new Predecessor()
  let free = false
  using standby = new Standby({ path: predecessor.path, node: 'n1', log, tryTake: () => free })
  await predecessor.accept()
  predecessor.say(welcome)
  await standby.placed
  const netnsFd = openSync('/proc/self/ns/net', 'r')
  predecessor.say({ type: 'pod', uid: 'u', workload: 'shop/web', listeners: [] }, [netnsFd])
  predecessor.say({ type: 'pods-sent', pods: 2 })
  predecessor.die()
  await predecessor.accept()
  t.match(await predecessor.hear('hello'), { node: 'n1' }, 'it tries again')
  t.same(predecessor.heard.length, 1, 'it never said that it had received two')
  free = true
  predecessor.die()
  t.equal((await standby.turn).pods.size, 0)
  closeSync(netnsFd)
})

t.test('refused, it waits for the state directory and knocks no more', async (t) => {
  using predecessor = new Predecessor()
  let tries = 0
  using standby = new Standby({ path: predecessor.path, node: 'n1', log, tryTake: () => ++tries > 4 })
  await predecessor.accept()
  predecessor.say({ type: 'refused', why: 'it speaks version 2' })
  await standby.placed
  predecessor.die()
  t.equal((await standby.turn).pods.size, 0)
  t.equal(tries, 5)
})

t.test('stopped before its turn it says so', async (t) => {
  using predecessor = new Predecessor()
  const standby = new Standby({ path: predecessor.path, node: 'n1', log, tryTake: () => false })
  standby[Symbol.dispose]()
  await t.rejects(standby.turn, { code: 'WEIR_AGENT_STANDBY' })
})
