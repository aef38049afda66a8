/** The agent's state directory: one agent at a time holds it, and who was killed holds it no more. */
import { mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { errorLine, WeirError } from '#base'
import { lockFile } from '#linux'

export class StateDir implements Disposable {
  readonly path: string
  /** The topmost directory that was made; undefined when all were there. */
  readonly #made: string | undefined
  #lock: Disposable | undefined

  /** Makes the directory where it is missing, and takes it if nobody holds it. @throws WeirError */
  constructor(path: string) {
    this.path = path
    try {
      this.#made = mkdirSync(path, { recursive: true, mode: 0o755 })
      this.#lock = lockFile(join(path, 'lock'))
    } catch (thrown) {
      throw new WeirError('WEIR_AGENT_STATE_DIR', `Cannot use the state directory ${path}: ${errorLine(thrown)}`)
    }
  }

  get isOurs(): boolean {
    return this.#lock !== undefined
  }

  /** True when it is ours now, or was before. */
  tryTake(): boolean {
    // An uninstall may have removed it.
    if (this.#lock === undefined) mkdirSync(this.path, { recursive: true, mode: 0o755 })
    this.#lock ??= lockFile(join(this.path, 'lock'))
    return this.isOurs
  }

  /** For the next agent. */
  release(): void {
    this.#lock?.[Symbol.dispose]()
    this.#lock = undefined
  }

  /** After a start that failed: what was made for it is removed again, as far as it is empty. */
  forget(): void {
    const made = this.#made
    if (made === undefined || !this.isOurs) return
    try {
      rmSync(join(this.path, 'lock'), { force: true })
      for (const name of readdirSync(this.path)) rmdirSync(join(this.path, name))
      for (let path = this.path; path.length >= made.length; path = dirname(path)) rmdirSync(path)
    } catch {
      // Something is in it by now: then it is not ours to remove.
    }
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
