/**
 * The last lines of pods that are gone. The newest files of each container are held open; when their folder vanishes, the
 * end of what is in them is written below the state folder, in the layout of the pods' own logs, for some time and size.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { closeLogs, type OpenLog, openLogs } from './log-files.ts'
import type { LogPod } from './log-line.ts'
import type { LogContainer } from './log-tree.ts'
import { parsePodFolder } from './pod-folder.ts'

export interface KeptLogsOptions {
  /** `STATE_DIR/logs/gone`. */
  readonly folder: string
  readonly keepMs: number
  /** Of all pods together; the oldest are removed first. 0: nothing is kept. */
  readonly maxBytes: number
  readonly now: () => number
}

/** Of one container. */
const MAX_CONTAINER_BYTES = 256 << 10
/** A file that was just rotated has few lines: the one before is held too. */
const HELD_FILES = 2
const POD_FILE = 'pod.json'

interface Held {
  readonly container: LogContainer
  pod: LogPod
  logs: readonly OpenLog[]
  /** Of the folder, when its files were opened. */
  time: number
}

export class KeptLogs {
  readonly #options: KeptLogsOptions
  readonly #held = new Map<string, Held>()

  constructor(options: KeptLogsOptions) {
    this.#options = options
  }

  /** These containers are there now; what was there before and is not any more is kept. */
  update(present: readonly { readonly container: LogContainer; readonly pod: LogPod }[]): void {
    if (this.#options.maxBytes === 0) return
    const keys = new Set(present.map(({ container }) => container.key))
    for (const [key, held] of this.#held) {
      if (keys.has(key)) continue
      this.#held.delete(key)
      if (!isFolder(held.container.folder)) this.#keep(held)
      closeLogs(held.logs)
    }
    for (const { container, pod } of present) this.#hold(container, pod)
    this.#expire()
  }

  /** Whose logs are kept; as far as was known of it. */
  pods(): ReadonlyMap<string, LogPod> {
    const pods = new Map<string, LogPod>()
    for (const folder of foldersIn(this.#options.folder)) {
      const pod = readPod(join(this.#options.folder, folder, POD_FILE))
      if (pod !== undefined) pods.set(folder, pod)
    }
    return pods
  }

  [Symbol.dispose](): void {
    for (const { logs } of this.#held.values()) closeLogs(logs)
    this.#held.clear()
  }

  #hold(container: LogContainer, pod: LogPod): void {
    const held = this.#held.get(container.key)
    const time = statSync(container.folder, { throwIfNoEntry: false })?.mtimeMs ?? 0
    if (held !== undefined) held.pod = pod
    if (held !== undefined && held.time === time && this.#options.now() - time > 1_000) return
    const opened = openLogs({ folder: container.folder, only: undefined }).filter(({ name, fd }) => {
      if (name.gzip) closeSync(fd)
      return !name.gzip
    })
    closeLogs(opened.slice(0, -HELD_FILES))
    if (held !== undefined) closeLogs(held.logs)
    this.#held.set(container.key, { container, pod, logs: opened.slice(-HELD_FILES), time })
  }

  #keep({ container, pod, logs }: Held): void {
    const last = lastBytes(logs)
    if (last.length === 0) return
    const [podFolder = ''] = container.key.split('/')
    const folder = join(this.#options.folder, podFolder)
    mkdirSync(join(folder, container.container), { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, container.container, '0.log'), last, { mode: 0o600 })
    writeFileSync(join(folder, POD_FILE), JSON.stringify(pod), { mode: 0o600 })
  }

  #expire(): void {
    const { folder, keepMs, maxBytes, now } = this.#options
    const kept = foldersIn(folder)
      .map((name) => ({
        path: join(folder, name),
        time: keptAt(join(folder, name)),
        bytes: bytesIn(join(folder, name)),
      }))
      .sort((a, b) => b.time - a.time)
    let bytes = 0
    for (const { path, time, bytes: own } of kept) {
      bytes += own
      if (bytes > maxBytes || now() - time > keepMs) rmSync(path, { recursive: true, force: true })
    }
  }
}

function lastBytes(logs: readonly OpenLog[]): Buffer {
  const parts: Buffer[] = []
  let room = MAX_CONTAINER_BYTES
  for (const { fd } of logs.toReversed()) {
    const { size } = fstatSync(fd)
    const bytes = Buffer.alloc(Math.min(size, room))
    readSync(fd, bytes, 0, bytes.length, size - bytes.length)
    // From the first whole line on.
    parts.unshift(bytes.length === size ? bytes : bytes.subarray(bytes.indexOf(10) + 1))
    room -= bytes.length
    if (room <= 0) break
  }
  return Buffer.concat(parts)
}

function foldersIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).filter((name) => parsePodFolder(name) !== undefined)
  } catch {
    return []
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function keptAt(folder: string): number {
  return statSync(join(folder, POD_FILE), { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => {
    const stat = statSync(join(folder, name), { throwIfNoEntry: false })
    return sum + (stat?.isFile() === true ? stat.size : 0)
  }, 0)
}

/** Written by ourselves. */
function readPod(path: string): LogPod | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LogPod
  } catch {
    return undefined
  }
}
