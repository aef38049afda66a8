/** Weir's CNI plugin on a node of a lab: built once, put beside the bridge plugin and chained after it. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { indexPath, pluginEntry } from '../../cni/install/install.ts'
import { PLUGIN_TYPE } from '../../cni/install/network-list.ts'
import { type PodIndex, renderPodIndex } from '../../cni/pod-index.ts'
import { type CniReply, type CniRequest, parseRequest, renderLine } from '../../cni/protocol.ts'
import { cached, newestChange } from './lab-cache.ts'
import { CNI_CONF_DIR, type CniConflist, type Containerd } from './lab-containerd.ts'
import type { LabMachine } from './lab-machine.ts'

const ROOT = join(import.meta.dirname, '../..')

/** Where an agent listens that is given no state directory. */
export const CNI_SOCKET = '/run/weir/cni.sock'

/** The executable, as `scripts/build-cni` makes it; built anew when its sources have changed. */
export function pluginExecutable(): string {
  const change = newestChange(ROOT, [
    'cni',
    'src/contract',
    'src/base',
    'src/linux',
    'scripts/build-cni.ts',
    'package-lock.json',
  ])
  return cached('weir-cni', change, (draft) => {
    const { NODE_OPTIONS: _, ...env } = process.env
    execFileSync(join(ROOT, 'scripts/build-cni'), [draft], { env, stdio: 'pipe' })
  })
}

/** A conflist with the plugin after all others. */
export function withPlugin(conflist: CniConflist): CniConflist {
  const entry = pluginEntry({ hostConfDir: CNI_CONF_DIR, socket: CNI_SOCKET })
  return { ...conflist, plugins: [...conflist.plugins, { ...entry }] }
}

export function installPlugin({ cniBinDir }: Containerd): void {
  copyFileSync(pluginExecutable(), join(cniBinDir, PLUGIN_TYPE))
}

/** Writes the index that an agent leaves for the time when it is away. */
export function writeIndex(machine: LabMachine, index: PodIndex): void {
  const path = machine.pathOf(indexPath(CNI_CONF_DIR))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, renderPodIndex(index))
}

/** The text of what an agent has left there so far. */
export function readIndex(machine: LabMachine): string {
  const path = machine.pathOf(indexPath(CNI_CONF_DIR))
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

type Answer = (request: CniRequest) => Promise<readonly CniReply[]>

/** Answers the plugin in an agent's place, as a test wants. */
export class StandInAgent implements AsyncDisposable {
  /** All that was asked, in order. */
  readonly requests: CniRequest[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(answer: Answer) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket))
      let text = ''
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        if (text.includes('\n')) void this.#reply(socket, text.trim(), answer)
      })
    })
  }

  static async listen(machine: LabMachine, answer: Answer): Promise<StandInAgent> {
    const agent = new StandInAgent(answer)
    const path = machine.pathOf(CNI_SOCKET)
    mkdirSync(dirname(path), { recursive: true })
    await new Promise<void>((resolve) => agent.#server.listen(path, resolve))
    return agent
  }

  async #reply(socket: Socket, line: string, answer: Answer): Promise<void> {
    const parsed = parseRequest(line)
    if (parsed.kind === 'request') this.requests.push(parsed.request)
    const replies = parsed.kind === 'request' ? await answer(parsed.request) : [parsed]
    socket.end(replies.map(renderLine).join(''))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
