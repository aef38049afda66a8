/**
 * What goes to one reader, in frames of JSON lines. A few frames are under way at a time; the next waits for them.
 * Following, nothing waits: what does not fit is counted, and the reader is told of it where it is missing.
 */

export interface ReaderOutputOptions {
  /** Takes a frame; `acknowledge` is called when the reader has it. */
  readonly send: (frame: string) => void
  /** Frames under way. Default 4. */
  readonly maxFrames?: number
  /** Characters that wait besides. Default 1 Mi. */
  readonly maxWaiting?: number
  /** Tells how many are missing; by default as the log's. */
  readonly lostRecord?: (count: number) => string
}

const FRAME_CHARACTERS = 32 << 10
const MAX_PAUSE_MS = 1_000

export class ReaderOutput {
  readonly #send: (frame: string) => void
  readonly #maxFrames: number
  readonly #maxWaiting: number
  readonly #lostRecord: (count: number) => string
  #frames: string[] = []
  #open: string[] = []
  #openLength = 0
  #waiting = 0
  #underWay = 0
  #lost = 0
  #ended = false
  #isStalled = false
  #room: (() => void) | undefined
  /** Of all time. */
  lostLines = 0

  constructor(options: ReaderOutputOptions) {
    this.#send = options.send
    this.#maxFrames = options.maxFrames ?? 4
    this.#maxWaiting = options.maxWaiting ?? 1 << 20
    this.#lostRecord = options.lostRecord ?? ((lines) => `{"kind":"lost","lines":${lines}}`)
  }

  /** Resolves when the next may come. */
  write(json: string): Promise<void> | undefined {
    if (this.#ended) return undefined
    this.#append(json)
    if (this.#waiting < FRAME_CHARACTERS * 2) return undefined
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#room = resolve
    return promise
  }

  /** Takes it or counts it as lost. */
  offer(json: string): void {
    if (this.#lost > 0 || this.#waiting + json.length > this.#maxWaiting) {
      this.#lost++
      this.lostLines++
    } else this.#append(json)
  }

  /**
   * Sends what is gathered. Resolves when there is room for a slice more, so that a burst is not lost; but a reader that
   * makes none for a while is not waited for any more until it does.
   */
  async makeRoom(): Promise<void> {
    this.flush()
    if (this.#waiting < this.#maxWaiting / 2 || this.#ended || this.#isStalled) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#room = resolve
    const timer = setTimeout(() => {
      this.#isStalled = true
      resolve()
    }, MAX_PAUSE_MS)
    await promise
    clearTimeout(timer)
  }

  /** Sends what is gathered, as far as frames may be sent. */
  flush(): void {
    this.#closeFrame()
    this.#pump()
  }

  /** The reader has one more frame. */
  acknowledge(): void {
    this.#underWay--
    this.#pump()
  }

  /** Resolves when the last frame is sent. */
  async finish(): Promise<void> {
    this.flush()
    while (this.#frames.length > 0 && !this.#ended) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#room = resolve
      await promise
    }
  }

  /** Nobody reads any more: whoever waits goes on. */
  end(): void {
    this.#ended = true
    this.#room?.()
    this.#room = undefined
  }

  #append(json: string): void {
    this.#open.push(json)
    this.#openLength += json.length + 1
    this.#waiting += json.length + 1
    if (this.#openLength >= FRAME_CHARACTERS) this.flush()
  }

  #closeFrame(): void {
    if (this.#open.length === 0) return
    this.#frames.push(`${this.#open.join('\n')}\n`)
    this.#open = []
    this.#openLength = 0
  }

  #pump(): void {
    while (this.#underWay < this.#maxFrames) {
      const frame = this.#frames.shift()
      if (frame === undefined) break
      this.#underWay++
      this.#waiting -= frame.length
      this.#send(frame)
    }
    if (this.#waiting < this.#maxWaiting / 2) this.#isStalled = false
    if (this.#lost > 0 && this.#waiting < this.#maxWaiting / 2) {
      const lost = this.#lost
      this.#lost = 0
      this.#append(this.#lostRecord(lost))
    }
    if (this.#waiting < FRAME_CHARACTERS) {
      this.#room?.()
      this.#room = undefined
    }
  }
}
