/** The body of a watch, cut into its lines as the bytes come: one JSON value each. */
import { KubernetesError } from './kubernetes-error.ts'

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  /** For ERROR a Status. */
  readonly object: Readonly<Record<string, unknown>>
}

const NEWLINE = 0x0a
const TYPES: ReadonlySet<unknown> = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR'])

export class WatchLines {
  readonly #maxLineBytes: number
  readonly #action: string
  /** The beginning of a line whose end has not come. */
  #parts: Buffer[] = []
  #partBytes = 0

  /** @param action what the watch is called in errors */
  constructor(maxLineBytes: number, action: string) {
    this.#maxLineBytes = maxLineBytes
    this.#action = action
  }

  /** The events that are whole with this chunk. Throws KubernetesError for a line that is too long or no event. */
  *feed(chunk: Buffer): Generator<WatchEvent> {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const line = this.#finish(chunk.subarray(start, end))
      start = end + 1
      if (line !== '') yield parseEvent(line, this.#action)
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start))
  }

  #finish(rest: Buffer): string {
    this.#bound(rest.length)
    const line = this.#parts.length === 0 ? rest.toString('utf8') : Buffer.concat([...this.#parts, rest]).toString()
    this.#parts = []
    this.#partBytes = 0
    return line.trim()
  }

  #keep(part: Buffer): void {
    this.#bound(part.length)
    this.#parts.push(part)
    this.#partBytes += part.length
  }

  #bound(more: number): void {
    if (this.#partBytes + more <= this.#maxLineBytes) return
    const message = `${this.#action}: an event of the watch has more than ${this.#maxLineBytes} bytes`
    throw new KubernetesError({ status: 200, reason: 'TooLarge', message })
  }
}

function parseEvent(line: string, action: string): WatchEvent {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw malformed(`${action}: a line of the watch is no JSON: ${line.slice(0, 80)}`)
  }
  if (!isRecord(value) || !isType(value['type']) || !isRecord(value['object'])) {
    throw malformed(`${action}: a line of the watch is no event: ${line.slice(0, 80)}`)
  }
  return { type: value['type'], object: value['object'] }
}

function isType(value: unknown): value is WatchEvent['type'] {
  return TYPES.has(value)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function malformed(message: string): KubernetesError {
  return new KubernetesError({ status: 200, reason: 'Malformed', message })
}
