/** A stream of the agent: messages of JSON lines over a WebSocket, opened again when it breaks. */
import { ask, pathAt, socketAt } from './ask.ts'

/** Fields are as the agent writes them; a value may be anything that a pod has written. */
export type StreamRecord = Readonly<Record<string, unknown>>

export interface StreamHandlers {
  record(record: StreamRecord): void
  /** In words: connected, why not, and so on. */
  state(says: string): void
}

const RETRY_MS = 2_000
/** What a stream answers to who asks for no WebSocket, and could have one. */
const UPGRADE_REQUIRED = 426

export class Stream {
  readonly #node: string
  readonly #path: string
  readonly #handlers: StreamHandlers
  #socket: WebSocket | undefined
  #timer = 0
  #isClosed = false
  #problem = ''

  constructor(node: string, path: string, handlers: StreamHandlers) {
    this.#node = node
    this.#path = path
    this.#handlers = handlers
    this.#open()
  }

  #open(): void {
    const socket = socketAt(this.#node, this.#path)
    this.#socket = socket
    let isOpen = false
    socket.addEventListener('open', () => {
      isOpen = true
      this.#handlers.state('live')
    })
    socket.addEventListener('message', ({ data }) => this.#take(String(data)))
    socket.addEventListener('close', ({ code }) => {
      if (this.#isClosed) return
      if (code === 1000 || this.#problem !== '') {
        this.#handlers.state(this.#problem === '' ? 'ended' : this.#problem)
        return
      }
      this.#handlers.state(isOpen ? 'broken off; trying again' : 'no answer; trying again')
      void this.#again(isOpen)
    })
  }

  /** A browser does not say why a WebSocket was refused: the same path tells, asked otherwise. */
  async #again(wasOpen: boolean): Promise<void> {
    const answer = wasOpen ? undefined : await ask(pathAt(this.#node, this.#path))
    if (this.#isClosed) return
    if (answer?.kind === 'refused' && answer.status !== UPGRADE_REQUIRED) {
      this.#handlers.state(answer.says)
      if (answer.status < 500) return
    }
    this.#timer = setTimeout(() => this.#open(), RETRY_MS)
  }

  #take(message: string): void {
    for (const line of message.split('\n')) {
      const record = recordOf(line)
      if (record === undefined) continue
      if (record['kind'] === 'problem') this.#problem = String(record['problem'])
      else this.#handlers.record(record)
    }
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#socket?.close()
  }
}

function recordOf(line: string): StreamRecord | undefined {
  if (line === '') return undefined
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}

export function textIn(record: StreamRecord, name: string): string {
  const value = record[name]
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

export function numberIn(record: StreamRecord, name: string): number {
  const value = record[name]
  return typeof value === 'number' ? value : 0
}
