/**
 * Bytes of a container's log file → lines. The CRI's format: `TIME stdout|stderr P|F[:TAG…] MESSAGE`, where P is a part
 * and the line ends with its F. Parts are joined as bytes, since runtimes split inside a character. Nothing is dropped:
 * what is not of the format is a line by itself. Hot: no object besides the line, structure is found in a Latin-1 view.
 */
import { isAscii } from 'node:buffer'
import type { LogLine, LogStream } from './log-line.ts'
import { CUT_MARK, MAX_LINE_BYTES, TORN_MARK } from './log-line.ts'

/** `json`: each line is a JSON object with a member `time` near its start, as the access log writes it. */
export type LineFormat = 'cri' | 'json'

/** What parts of unfinished lines may take together; shared by all decoders of a tailer. */
export class JoinBudget {
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** How many of them may be kept. */
  take(bytes: number): number {
    const taken = Math.max(0, Math.min(bytes, this.#maxBytes - this.#bytes))
    this.#bytes += taken
    return taken
  }

  give(bytes: number): void {
    this.#bytes -= bytes
  }
}

interface Unfinished {
  readonly time: string
  readonly parts: Buffer[]
  bytes: number
  cut: boolean
}

/** What a decoder must know to go on in another process. */
export interface DecoderState {
  readonly skipping: boolean
  readonly unfinished: Readonly<Partial<Record<LogStream, UnfinishedState>>>
}

interface UnfinishedState {
  readonly time: string
  readonly base64: string
  readonly cut: boolean
}

const LINE_FEED = 10
const SPACE = 32
const COLON = 58
/** Header of a CRI line and its line feed. */
const MAX_HEADER_BYTES = 128
/** A buffer of this many bytes always holds either a whole line or one that is cut. */
export const DECODE_BYTES = MAX_LINE_BYTES + MAX_HEADER_BYTES

export class LineDecoder {
  readonly #format: LineFormat
  readonly #budget: JoinBudget
  /** By stream; undefined: nothing begun. */
  #stdout: Unfinished | undefined
  #stderr: Unfinished | undefined
  /** Within a line that was cut, until its line feed. */
  #skipping = false
  /** Lines that were not of the format. */
  malformed = 0

  constructor(format: LineFormat, budget: JoinBudget, state?: DecoderState) {
    this.#format = format
    this.#budget = budget
    if (state === undefined) return
    this.#skipping = state.skipping
    this.#stdout = this.#restored(state.unfinished.stdout)
    this.#stderr = this.#restored(state.unfinished.stderr)
  }

  /**
   * Tells the lines that end within the first `length` bytes, and how many bytes they took: the rest is to come again,
   * with what follows it. With DECODE_BYTES or more given it always takes some.
   */
  decode(bytes: Buffer, length: number, tell: (line: LogLine) => void): number {
    let from = 0
    if (this.#skipping) {
      const end = bytes.subarray(0, length).indexOf(LINE_FEED)
      if (end < 0) return length
      this.#skipping = false
      from = end + 1
    }
    const last = length === 0 ? -1 : bytes.lastIndexOf(LINE_FEED, length - 1)
    if (last < from) {
      if (length - from < DECODE_BYTES) return from
      this.#oneLine(bytes.subarray(from, length), tell)
      this.#skipping = true
      return length
    }
    this.#lines(bytes.subarray(from, last + 1), tell)
    return last + 1
  }

  /** What is left of a file to which nothing is added: a line without its line feed. */
  tellRest(rest: Buffer, tell: (line: LogLine) => void): void {
    if (rest.length > 0 && !this.#skipping) this.#oneLine(rest, tell)
    this.#skipping = false
  }

  /** Lines whose last part will not come. */
  tellTorn(tell: (line: LogLine) => void): void {
    this.#tellTorn('stdout', tell)
    this.#tellTorn('stderr', tell)
  }

  state(): DecoderState | undefined {
    if (!this.#skipping && this.#stdout === undefined && this.#stderr === undefined) return undefined
    const stdout = saved(this.#stdout)
    const stderr = saved(this.#stderr)
    return {
      skipping: this.#skipping,
      unfinished: { ...(stdout === undefined ? {} : { stdout }), ...(stderr === undefined ? {} : { stderr }) },
    }
  }

  /** Gives back what it holds of the budget. */
  [Symbol.dispose](): void {
    for (const unfinished of [this.#stdout, this.#stderr]) this.#budget.give(unfinished?.bytes ?? 0)
    this.#stdout = undefined
    this.#stderr = undefined
  }

  #lines(bytes: Buffer, tell: (line: LogLine) => void): void {
    const text = bytes.toString('latin1')
    const ascii = isAscii(bytes)
    for (let from = 0; from < text.length; ) {
      const end = text.indexOf('\n', from)
      if (this.#format === 'cri') this.#criLine(bytes, text, ascii, from, end, tell)
      else this.#jsonLine(bytes, text, from, end, tell)
      from = end + 1
    }
  }

  /** A line without its line feed. */
  #oneLine(bytes: Buffer, tell: (line: LogLine) => void): void {
    this.#lines(Buffer.concat([bytes, Buffer.of(LINE_FEED)]), tell)
  }

  #criLine(
    bytes: Buffer,
    text: string,
    ascii: boolean,
    from: number,
    end: number,
    tell: (line: LogLine) => void,
  ): void {
    const timeEnd = text.indexOf(' ', from)
    // `stdout` or `stderr`, a space, the tag.
    const tagAt = timeEnd + 8
    const isOut = text.startsWith('stdout ', timeEnd + 1)
    const tag = text.charCodeAt(tagAt)
    const isPart = tag === 80
    if (
      timeEnd < from + 20 ||
      tagAt >= end ||
      timeEnd > from + 64 ||
      !(isOut || text.startsWith('stderr ', timeEnd + 1)) ||
      !(isPart || tag === 70)
    ) {
      this.#malformedLine(bytes, from, end, tell)
      return
    }
    const afterTag = text.charCodeAt(tagAt + 1)
    let messageAt = tagAt + 2
    if (afterTag === COLON) {
      const space = text.indexOf(' ', tagAt)
      messageAt = space < 0 || space > end ? end : space + 1
    } else if (afterTag !== SPACE && tagAt + 1 !== end) {
      this.#malformedLine(bytes, from, end, tell)
      return
    }
    if (messageAt > end) messageAt = end
    const unfinished = isOut ? this.#stdout : this.#stderr
    const stream = isOut ? 'stdout' : 'stderr'
    if (!isPart && unfinished === undefined && end - messageAt <= MAX_LINE_BYTES) {
      const message = ascii ? text.slice(messageAt, end) : bytes.toString('utf8', messageAt, end)
      tell({ time: text.slice(from, timeEnd), stream, message, cut: false })
      return
    }
    const begun = unfinished ?? { time: detached(text.slice(from, timeEnd)), parts: [], bytes: 0, cut: false }
    this.#addPart(begun, bytes, messageAt, end)
    if (isOut) this.#stdout = isPart ? begun : undefined
    else this.#stderr = isPart ? begun : undefined
    if (!isPart) this.#tellJoined(begun, stream, begun.cut ? CUT_MARK : '', tell)
  }

  #addPart(begun: Unfinished, bytes: Buffer, from: number, end: number): void {
    if (begun.cut) return
    const kept = this.#budget.take(Math.min(end - from, MAX_LINE_BYTES - begun.bytes))
    if (kept < end - from) begun.cut = true
    if (kept > 0) begun.parts.push(Buffer.from(bytes.subarray(from, from + kept)))
    begun.bytes += kept
  }

  #tellJoined(begun: Unfinished, stream: LogStream, mark: string, tell: (line: LogLine) => void): void {
    this.#budget.give(begun.bytes)
    const joined = Buffer.concat(begun.parts)
    const whole = mark === '' ? joined : joined.subarray(0, wholeCharacters(joined))
    tell({ time: begun.time, stream, message: whole.toString() + mark, cut: mark !== '' })
  }

  #tellTorn(stream: LogStream, tell: (line: LogLine) => void): void {
    const begun = stream === 'stdout' ? this.#stdout : this.#stderr
    if (begun === undefined) return
    if (stream === 'stdout') this.#stdout = undefined
    else this.#stderr = undefined
    this.#tellJoined(begun, stream, begun.cut ? CUT_MARK : TORN_MARK, tell)
  }

  #malformedLine(bytes: Buffer, from: number, end: number, tell: (line: LogLine) => void): void {
    if (from === end) return
    this.malformed++
    this.#plainLine('', bytes, from, end, tell)
  }

  #jsonLine(bytes: Buffer, text: string, from: number, end: number, tell: (line: LogLine) => void): void {
    if (from === end) return
    const at = text.indexOf('"time":"', from)
    const timeAt = at + 8
    const timeEnd = at < 0 || at > from + 64 ? -1 : text.indexOf('"', timeAt)
    this.#plainLine(timeEnd < 0 || timeEnd > end ? '' : text.slice(timeAt, timeEnd), bytes, from, end, tell)
  }

  #plainLine(time: string, bytes: Buffer, from: number, end: number, tell: (line: LogLine) => void): void {
    const cut = end - from > MAX_LINE_BYTES
    const kept = cut ? from + wholeCharacters(bytes.subarray(from, from + MAX_LINE_BYTES)) : end
    tell({ time, stream: 'stdout', message: bytes.toString('utf8', from, kept) + (cut ? CUT_MARK : ''), cut })
  }

  #restored(state: UnfinishedState | undefined): Unfinished | undefined {
    if (state === undefined) return undefined
    const part = Buffer.from(state.base64, 'base64')
    const bytes = this.#budget.take(part.length)
    return { time: state.time, parts: [part.subarray(0, bytes)], bytes, cut: state.cut || bytes < part.length }
  }
}

function saved(unfinished: Unfinished | undefined): UnfinishedState | undefined {
  if (unfinished === undefined) return undefined
  return { time: unfinished.time, base64: Buffer.concat(unfinished.parts).toString('base64'), cut: unfinished.cut }
}

/** How many of these bytes are whole UTF-8 characters: a cut leaves no half one. */
function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= 4 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] ?? 0
    if ((byte & 0xc0) === 0x80) continue
    const size = byte < 0x80 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2
    return size > back ? bytes.length - back : bytes.length
  }
  return bytes.length
}

/** A slice keeps all of the text that it is of: this one does not. */
function detached(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}
