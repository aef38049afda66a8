/**
 * The logs of a node: which there are and whose, readers, what is kept of pods that are gone, and shipping. Nothing is
 * read while nobody reads and nothing is shipped.
 */
import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { errorLine } from '#base'
import { FileSink } from './file-sink.ts'
import { KeptLogs } from './kept-logs.ts'
import type { LogPod } from './log-line.ts'
import type { LogQuery } from './log-query.ts'
import { renderOwner } from './log-record.ts'
import { type LogContainer, LogTree } from './log-tree.ts'
import type { PodFolder } from './pod-folder.ts'
import { type ReadTarget, readLogs } from './read-logs.ts'
import { ReaderOutput } from './reader-output.ts'
import { Shipping } from './shipping.ts'

export interface LogsConfig {
  readonly node: string
  /** /var/log/pods. */
  readonly root: string
  readonly which: 'enrolled' | 'all'
  /** STATE_DIR/logs; there already. */
  readonly stateFolder: string
  readonly keepMs: number
  readonly keepBytes: number
  readonly file: { readonly path: string; readonly maxBytes: number; readonly files: number } | undefined
  readonly otlpUrl: string | undefined
  readonly access: AccessPlace
}

/** Where the proxies' access log can be read. */
export type AccessPlace =
  | { readonly kind: 'file'; readonly path: string }
  /** The agent's own pod: its standard output is in the node's logs. */
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'none'; readonly why: string }

export interface LogsStatus {
  readonly containers: number
  /** Containers beyond what is followed. */
  readonly leftOut: number
  readonly readers: number
  /** Lines that readers were told they lost. */
  readonly readerLostLines: number
  readonly sinks: readonly {
    readonly name: string
    readonly sent: number
    readonly lost: number
    readonly malformed: number
    readonly missed: number
    readonly problem: string
  }[]
}

interface Reader {
  readonly output: ReaderOutput
  readonly abort: AbortController
}

/** How late a new container is noticed, and one that is gone. */
const SCAN_MS = 2_000
export const MAX_READERS = 16

export class LogService {
  readonly #config: LogsConfig
  readonly #onProblem: (problem: string) => void
  readonly #now: () => number
  readonly #tree: LogTree
  readonly #kept: KeptLogs
  readonly #readers = new Map<number, Reader>()
  readonly #targets = new Map<string, ReadTarget>()
  readonly #shipping = new Map<string, Shipping>()
  #pods = new Map<string, LogPod>()
  #scan: NodeJS.Timeout | undefined
  #lostBefore = 0
  #stopping = false

  constructor(config: LogsConfig, onProblem: (problem: string) => void, now: () => number) {
    this.#config = config
    this.#onProblem = onProblem
    this.#now = now
    this.#tree = new LogTree(config.root, now)
    const folder = join(config.stateFolder, 'gone')
    this.#kept = new KeptLogs({ folder, keepMs: config.keepMs, maxBytes: config.keepBytes, now })
  }

  /** Pods of this node, as the cluster has them. */
  setPods(pods: readonly LogPod[]): void {
    this.#pods = new Map(pods.map((pod) => [pod.uid, pod]))
    this.#targets.clear()
    if (this.#scan !== undefined) this.#look()
  }

  /** From now on what pods leave behind is kept, and lines are shipped: on a node one agent does. */
  async begin(): Promise<void> {
    const { file, otlpUrl, stateFolder } = this.#config
    const onProblem = this.#onProblem
    const now = this.#now
    if (file !== undefined) {
      await this.#ship('file', {
        placesPath: join(stateFolder, 'file-places.json'),
        openSink: (written, remember) => new FileSink({ ...file, written, remember, onProblem }),
      })
    }
    if (otlpUrl !== undefined) {
      await this.#ship('otlp', {
        placesPath: join(stateFolder, 'otlp-places.json'),
        openSink: async () => {
          const { OtlpSink } = await import('./otlp-sink.ts')
          return new OtlpSink({ url: otlpUrl, onProblem, now, random: Math.random })
        },
      })
    }
    this.#look()
    this.#scan = setInterval(() => this.#look(), SCAN_MS)
  }

  /** @param onEnd once, with what is wrong, or nothing */
  open(
    id: number,
    query: LogQuery,
    greps: (message: string) => boolean,
    send: (frame: string) => void,
    onEnd: (problem: string) => void,
  ): void {
    const why = this.#cannotRead(query)
    if (why !== undefined) {
      onEnd(why)
      return
    }
    const abort = new AbortController()
    const output = new ReaderOutput({ send })
    this.#readers.set(id, { output, abort })
    const targets = () => this.#readTargets()
    readLogs({ query, targets, greps, output, signal: abort.signal, now: this.#now })
      .then(
        () => onEnd(this.#stopping ? 'The agent is ending; ask again when the next one is there' : ''),
        (thrown: unknown) => onEnd(`Logs not read: ${errorLine(thrown)}`),
      )
      .finally(() => {
        this.#lostBefore += output.lostLines
        this.#readers.delete(id)
      })
  }

  acknowledge(id: number): void {
    this.#readers.get(id)?.output.acknowledge()
  }

  close(id: number): void {
    this.#readers.get(id)?.abort.abort()
  }

  status(): LogsStatus {
    const lost = [...this.#readers.values()].reduce((sum, { output }) => sum + output.lostLines, this.#lostBefore)
    return {
      containers: this.#targets.size,
      leftOut: this.#tree.leftOut,
      readers: this.#readers.size,
      readerLostLines: lost,
      sinks: [...this.#shipping].map(([name, shipping]) => {
        const { sent, lost: lostLines, malformed, missed, problem } = shipping.counts()
        return { name, sent, lost: lostLines, malformed, missed, problem }
      }),
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true
    clearInterval(this.#scan)
    for (const { abort } of this.#readers.values()) abort.abort()
    await Promise.all([...this.#shipping.values()].map((shipping) => shipping.stop()))
    this.#kept[Symbol.dispose]()
  }

  async #ship(
    name: string,
    options: Pick<ConstructorParameters<typeof Shipping>[0], 'placesPath' | 'openSink'>,
  ): Promise<void> {
    const shipping = new Shipping({ ...options, onProblem: this.#onProblem, now: this.#now })
    try {
      await shipping.start()
      this.#shipping.set(name, shipping)
    } catch (thrown) {
      this.#onProblem(`Logs are not shipped (${name}): ${errorLine(thrown)}`)
    }
  }

  #look(): void {
    try {
      const present = this.#present()
      this.#kept.update(present.map(({ container, target }) => ({ container, pod: target.pod })))
      for (const shipping of this.#shipping.values()) shipping.setTargets(present.map(({ target }) => target))
    } catch (thrown) {
      this.#onProblem(`Logs below ${this.#config.root} not looked at: ${errorLine(thrown)}`)
    }
  }

  #present(): readonly { readonly container: LogContainer; readonly target: ReadTarget }[] {
    const found = this.#tree.scan((folder) => this.#isWanted(folder))
    const keys = new Set(found.map(({ key }) => key))
    for (const key of this.#targets.keys()) if (!keys.has(key)) this.#targets.delete(key)
    return found.map((container) => ({ container, target: this.#targetOf(container) }))
  }

  /** A pod that has left the cluster, but whose folder is still there, is still read. */
  #isWanted({ uid, namespace, name }: PodFolder): boolean {
    if (this.#config.which === 'all') return true
    const pod = this.#pods.get(uid)
    if (pod !== undefined) return pod.enrolled
    return this.#left.has(`${namespace}_${name}_${uid}`)
  }

  /** Folders of enrolled pods that the cluster does not know any more. */
  readonly #left = new Map<string, LogPod>()

  #targetOf(container: LogContainer): ReadTarget {
    const known = this.#targets.get(container.key)
    if (known !== undefined) return known
    const [folder = ''] = container.key.split('/')
    const pod =
      this.#pods.get(container.pod.uid) ?? this.#left.get(folder) ?? strangerOf(container.pod, this.#config.node)
    if (pod.enrolled) remember(this.#left, folder, pod)
    const target: ReadTarget = {
      key: container.key,
      place: { folder: container.folder, only: undefined },
      format: 'cri',
      pod,
      container: container.container,
      owner: renderOwner(pod, container.container, false),
      isGone: false,
      isAccess: false,
    }
    this.#targets.set(container.key, target)
    return target
  }

  #readTargets(): readonly ReadTarget[] {
    const present = this.#present().map(({ target }) => target)
    return [...present, ...this.#goneTargets(), ...this.#accessTargets()]
  }

  #goneTargets(): readonly ReadTarget[] {
    const pods = this.#kept.pods()
    const tree = new LogTree(join(this.#config.stateFolder, 'gone'), this.#now)
    return tree
      .scan(({ namespace, name, uid }) => pods.has(`${namespace}_${name}_${uid}`))
      .map((container): ReadTarget => {
        const [folder = ''] = container.key.split('/')
        const pod = pods.get(folder) ?? strangerOf(container.pod, this.#config.node)
        return {
          key: `gone ${container.key}`,
          place: { folder: container.folder, only: undefined },
          format: 'cri',
          pod,
          container: container.container,
          owner: renderOwner(pod, container.container, true),
          isGone: true,
          isAccess: false,
        }
      })
  }

  #accessTargets(): readonly ReadTarget[] {
    const { access, node } = this.#config
    const base = {
      pod: strangerOf({ namespace: '', name: '', uid: '' }, node),
      container: '',
      owner: '',
      isGone: false,
    }
    if (access.kind === 'none') return []
    if (access.kind === 'file') {
      const place = { folder: dirname(access.path), only: basename(access.path) }
      return [{ ...base, key: 'access log', place, format: 'json', isAccess: true }]
    }
    return new LogTree(this.#config.root, this.#now)
      .scan(({ namespace, name }) => namespace === access.namespace && name === access.name)
      .map(({ key, folder }) => ({
        ...base,
        key: `access log ${key}`,
        place: { folder, only: undefined },
        format: 'cri',
        isAccess: true,
      }))
  }

  /** Why there is nothing to read, with the remedy. */
  #cannotRead(query: LogQuery): string | undefined {
    const { access, root, which } = this.#config
    if (this.#readers.size >= MAX_READERS) return `${MAX_READERS} readers are connected already; end one of them`
    if (query.requests && access.kind === 'none') return `Requests cannot be woven in: ${access.why}`
    if (!existsSync(root))
      return `There is no ${root} here; name the folder of the pods' logs with weir agent --log-root`
    if (query.pod === '' || this.#readTargets().some(({ isAccess, pod }) => !isAccess && matchesPod(query, pod))) {
      return undefined
    }
    const name = query.namespace === '' ? query.pod : `${query.namespace}/${query.pod}`
    const here = [...this.#pods.values()].find((pod) => matchesPod(query, pod))
    if (here === undefined)
      return `No pod ${name} on node ${this.#config.node}, and none that was here lately; weir pods --all tells where it is`
    if (here.enrolled) return `Pod ${name} has no log below ${root} yet`
    return `Pod ${name} is not in the mesh, and ${which === 'enrolled' ? 'only logs of pods that are can be read; start the agent with --logs all' : 'has no log yet'}`
  }
}

function matchesPod({ pod, namespace }: LogQuery, one: LogPod): boolean {
  return pod === one.name && (namespace === '' || namespace === one.namespace)
}

const MAX_LEFT = 4096

function remember(left: Map<string, LogPod>, folder: string, pod: LogPod): void {
  left.delete(folder)
  left.set(folder, pod)
  const [oldest] = left.keys()
  if (left.size > MAX_LEFT && oldest !== undefined) left.delete(oldest)
}

/** A pod of which only the folder is known. */
function strangerOf({ namespace, name, uid }: PodFolder, node: string): LogPod {
  return { uid, namespace, name, node, serviceAccount: '', owner: '', labels: {}, enrolled: false }
}
