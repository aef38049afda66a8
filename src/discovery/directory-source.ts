/**
 * The directory source: every *.yaml and *.yml of one directory, followed live. File events say that something
 * changed, a periodic look at mtime, size and inode that nothing was missed; either way the same scan runs.
 * Bias: knowledge is kept. What cannot be read, is half written or is gone for a moment stays in force as it was.
 */
import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { KubernetesObject, Problem } from '#resources'
import { MAX_FILE_BYTES, readManifest } from './manifest-file.ts'
import { ManifestSet } from './manifest-set.ts'
import { type ObjectSource, SourceError, type SourceOptions } from './source.ts'

export interface DirectorySourceOptions extends SourceOptions {
  readonly directory: string
  /** Period of the look that needs no events, ms; default 2000. */
  readonly rescanMs?: number
  /** Quiet time after an event before files are read, and between two looks at a file that is gone, ms; default 50. */
  readonly debounceMs?: number
  /** False: no file events, only the periodic look; default true. */
  readonly watch?: boolean
}

/** Events that keep coming cannot put a scan off longer than this many debounce times. */
const MAX_DEBOUNCES = 20

/**
 * Resolves after the first onChange. Throws SourceError when the directory cannot be read, and the signal's reason
 * when that is aborted meanwhile.
 */
export async function openDirectorySource(options: DirectorySourceOptions): Promise<ObjectSource> {
  const source = new DirectorySource(options)
  await source.open()
  return source
}

class DirectorySource implements ObjectSource {
  readonly #options: DirectorySourceOptions
  readonly #rescanMs: number
  readonly #debounceMs: number
  readonly #set = new ManifestSet()
  /** What each file looked like when it was last read. */
  readonly #seen = new Map<string, string>()
  /** Files that were gone at the last look; gone twice is gone. */
  readonly #missing = new Set<string>()
  readonly #abort = (): void => void this[Symbol.asyncDispose]()
  #directoryProblem: Problem | undefined
  #watchProblem: Problem | undefined
  #watcher: FSWatcher | undefined
  #watchedInode = ''
  #rescanTimer: NodeJS.Timeout | undefined
  #debounceTimer: NodeJS.Timeout | undefined
  #firstEventAt: number | undefined
  #scanning: Promise<void> | undefined
  #scanAgain = false
  #first = true
  #closed = false
  #told: { objects: readonly KubernetesObject[]; problems: string } | undefined

  constructor(options: DirectorySourceOptions) {
    this.#options = options
    this.#rescanMs = options.rescanMs ?? 2000
    this.#debounceMs = options.debounceMs ?? 50
  }

  async open(): Promise<void> {
    const { directory, signal } = this.#options
    signal?.throwIfAborted()
    signal?.addEventListener('abort', this.#abort, { once: true })
    const wrong = await directoryProblem(directory)
    if (wrong !== undefined) {
      await this[Symbol.asyncDispose]()
      throw new SourceError(`Cannot read the manifest directory ${directory}: ${wrong}`)
    }
    await this.#scan()
    signal?.throwIfAborted()
    this.#rescanTimer = this.#closed ? undefined : setInterval(() => void this.#scan(), this.#rescanMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#options.signal?.removeEventListener('abort', this.#abort)
    clearInterval(this.#rescanTimer)
    clearTimeout(this.#debounceTimer)
    this.#watcher?.close()
    this.#watcher = undefined
    await this.#scanning
  }

  /** One scan at a time; a wish for another one during a scan is granted after it. */
  #scan(): Promise<void> {
    if (this.#scanning !== undefined) {
      this.#scanAgain = true
      return this.#scanning
    }
    const run = async (): Promise<void> => {
      do {
        this.#scanAgain = false
        await this.#scanOnce()
      } while (this.#scanAgain && !this.#closed)
    }
    this.#scanning = run().finally(() => {
      this.#scanning = undefined
    })
    return this.#scanning
  }

  async #scanOnce(): Promise<void> {
    const { directory } = this.#options
    await this.#followDirectory()
    let names: string[]
    try {
      names = (await readdir(directory)).filter(isManifestName).sort()
      this.#directoryProblem = undefined
    } catch (error) {
      const message = `cannot be read any more (${reasonOf(error)}); its last good contents stay in force`
      this.#directoryProblem = { file: directory, message }
      this.#tell()
      return
    }
    const present = new Set<string>()
    for (const name of names) {
      if (await this.#look(name)) present.add(name)
    }
    let pending = false
    for (const name of [...this.#seen.keys()]) {
      if (present.has(name)) {
        this.#missing.delete(name)
      } else if (this.#missing.delete(name)) {
        this.#seen.delete(name)
        this.#set.remove(name)
      } else {
        // An editor may be between removing the old file and naming the new one.
        this.#missing.add(name)
        pending = true
      }
    }
    this.#first = false
    this.#tell()
    if (pending) this.#scanSoon()
  }

  /** Reads the file if it changed. False: there is no such file. */
  async #look(name: string): Promise<boolean> {
    const path = join(this.#options.directory, name)
    let before: Look | undefined
    try {
      before = await lookAt(path)
      if (before === undefined) return false
      if (this.#seen.get(name) === before.signature) return true
      if (before.bytes > MAX_FILE_BYTES) {
        this.#set.hold(name, `has ${before.bytes} bytes, at most ${MAX_FILE_BYTES} are read: split it`)
      } else {
        const bytes = await readFile(path)
        if ((await lookAt(path))?.signature !== before.signature) {
          // Somebody is writing: what was read may be half of it.
          this.#scanSoon()
          if (!this.#seen.has(name)) this.#seen.set(name, '')
          return true
        }
        // A writer that truncates first, or a full disk, leaves an empty file: nobody means that.
        if (bytes.length === 0 && this.#set.objectCount(name) > 0) {
          this.#set.hold(name, 'is empty: fill it again, or delete it to remove its objects')
        } else {
          this.#set.apply(name, readManifest(name, bytes), this.#first)
        }
      }
      this.#seen.set(name, before.signature)
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return false
      this.#set.hold(name, `cannot be read (${reasonOf(error)}): make it readable for the agent`)
      this.#seen.set(name, before?.signature ?? '')
    }
    return true
  }

  #tell(): void {
    if (this.#closed) return
    const { objects, problems: ofFiles } = this.#set.sum(this.#missing)
    const ofDirectory = [this.#directoryProblem, this.#watchProblem].filter((one) => one !== undefined)
    const problems = [...ofDirectory, ...ofFiles]
    const text = JSON.stringify(problems)
    const told = this.#told
    const same =
      told?.objects.length === objects.length && objects.every((object, index) => object === told.objects[index])
    if (same && told.problems === text) return
    this.#told = { objects, problems: text }
    this.#options.onChange(objects, { problems })
  }

  #scanSoon(): void {
    if (this.#closed) return
    const now = performance.now()
    this.#firstEventAt ??= now
    if (this.#debounceTimer !== undefined && now - this.#firstEventAt > MAX_DEBOUNCES * this.#debounceMs) return
    clearTimeout(this.#debounceTimer)
    this.#debounceTimer = setTimeout(() => {
      this.#debounceTimer = undefined
      this.#firstEventAt = undefined
      void this.#scan()
    }, this.#debounceMs)
  }

  /** Watches the directory that now has the name: it may have been replaced by another one. */
  async #followDirectory(): Promise<void> {
    const { directory } = this.#options
    if (this.#options.watch === false) return
    const inode = await stat(directory).then(
      ({ dev, ino }) => `${dev}:${ino}`,
      () => '',
    )
    if (this.#closed || inode === '' || (inode === this.#watchedInode && this.#watcher !== undefined)) return
    this.#watcher?.close()
    this.#watcher = undefined
    try {
      const watcher = watch(directory, () => this.#scanSoon())
      watcher.on('error', () => {
        watcher.close()
        if (this.#watcher === watcher) this.#watcher = undefined
      })
      this.#watcher = watcher
      this.#watchedInode = inode
      this.#watchProblem = undefined
    } catch (error) {
      const message = `cannot be watched (${reasonOf(error)}): changes are only seen every ${this.#rescanMs} ms`
      this.#watchProblem = { file: directory, message }
    }
  }
}

interface Look {
  readonly signature: string
  readonly bytes: number
}

/** Undefined when there is no regular file of that name; links are followed, as mounted ConfigMaps need it. */
async function lookAt(path: string): Promise<Look | undefined> {
  try {
    const found = await stat(path, { bigint: true })
    if (!found.isFile()) return undefined
    // ctime is in it for what mtime does not show: permissions, and times set back by a copying tool.
    const { dev, ino, size, mtimeNs, ctimeNs } = found
    return { signature: `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`, bytes: Number(size) }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function directoryProblem(directory: string): Promise<string | undefined> {
  try {
    if (!(await stat(directory)).isDirectory())
      return 'it is not a directory; name the directory that holds the manifests'
    await readdir(directory)
    return undefined
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT') return 'it does not exist; create it or name another one'
    return `${reasonOf(error)}; make it readable or name another one`
  }
}

/** Editors keep their own files beside: hidden ones, `#…#` and others that do not end so. */
function isManifestName(name: string): boolean {
  return /\.ya?ml$/.test(name) && !name.startsWith('.') && !name.startsWith('#')
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

function reasonOf(error: unknown): string {
  return errorCode(error) ?? (error instanceof Error ? error.message : String(error))
}
