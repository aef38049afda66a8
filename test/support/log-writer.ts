/** Containers' log files as containerd and a kubelet treat them. */
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

let ticks = 0

/** Each a microsecond later than the one before, written to the nanosecond. */
export function nextTime(): string {
  ticks++
  const ms = Date.UTC(2026, 10, 21, 10) + Math.floor(ticks / 1000)
  return new Date(ms).toISOString().replace('Z', `${String(ticks % 1000).padStart(3, '0')}001Z`)
}

export class LogWriter {
  readonly folder: string
  readonly file: string
  #rotations = 0

  constructor(root: string, pod: string, container = 'app') {
    this.folder = join(root, pod, container)
    this.file = join(this.folder, '0.log')
    mkdirSync(this.folder, { recursive: true })
  }

  /** Whole lines. */
  write(messages: readonly string[], stream = 'stdout'): void {
    this.writeRaw(messages.map((message) => `${nextTime()} ${stream} F ${message}\n`).join(''))
  }

  writeRaw(text: string): void {
    appendFileSync(this.file, text)
  }

  /**
   * As kubelet's container_log_manager: what was rotated before is compressed beside itself and renamed, the current file
   * is renamed, and the runtime opens a new one.
   */
  rotate(): void {
    for (const name of readdirSync(this.folder)) {
      if (!/^0\.log\.\d{8}-\d{6}$/.test(name)) continue
      const path = join(this.folder, name)
      writeFileSync(`${path}.gz.tmp`, gzipSync(readFileSync(path)))
      renameSync(`${path}.gz.tmp`, `${path}.gz`)
      rmSync(path)
    }
    renameSync(this.file, this.#rotatedName())
    writeFileSync(this.file, '')
  }

  /** As logrotate's copytruncate; nothing is written between the two. */
  copyTruncate(): void {
    copyFileSync(this.file, this.#rotatedName())
    truncateSync(this.file, 0)
  }

  #rotatedName(): string {
    this.#rotations++
    const seconds = String(this.#rotations).padStart(6, '0')
    return `${this.file}.20261121-${seconds}`
  }
}
