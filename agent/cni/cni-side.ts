/**
 * The agent's side towards container runtime and network plugins, put together: what they tell of pods is laid over the
 * objects of the source; pods that nobody told of are looked up; the plugin is answered and left an index.
 */
import { backoffMs, errorLine, startTimer } from '#base'
import type { ObjectChange } from '#discovery'
import type { Enrolment } from '#mesh/compile'
import type { KubernetesObject } from '#resources'
import type { FoundNetns, NetnsLookup } from '../cri/netns-lookup.ts'
import type { EnrolmentStatus } from '../enrol/entry.ts'
import type { AgentLog } from '../log.ts'
import { Attachments } from './attachments.ts'
import { createDecider } from './decider.ts'
import { IndexWriter } from './index-writer.ts'
import { type OverlayOptions, podKey, runtimeUid } from './overlay.ts'
import { PodFinder, type PodFinderOptions } from './pod-finder.ts'
import { type CniServer, type HandledRequest, startCniServer } from './server.ts'

export interface CniSideOptions extends OverlayOptions, PodFinderOptions {
  readonly stateDir: string
  readonly log: Pick<AgentLog, 'info' | 'warn' | 'debug'>
  /** Where the plugin asks; without it nobody is answered. */
  readonly socketPath?: string
  /** Where the plugin looks while no agent runs; cni/install/install.ts `indexPath`. */
  readonly indexPath?: string
  /** For pods that nobody told of; without it only annotations name their namespaces. */
  readonly lookup?: NetnsLookup
  /** Compiles the world from these before it returns; `change` as sources tell it. Called by `update`, and when something was told or found. */
  onObjects(objects: readonly KubernetesObject[], change: ObjectChange | undefined): void
  /** Opted-in pods, after the last `onObjects`. */
  wishes(): readonly Enrolment[]
  settled(uid: string, timeoutMs: number): Promise<Pick<EnrolmentStatus, 'state' | 'detail'>>
  /** Told of each request of the plugin. */
  onHandled?(handled: HandledRequest): void
  /** Another agent runs: until `takeOver` nothing is written. */
  readonly standby?: boolean
}

const RETRY = { baseMs: 500, maxMs: 30_000 }
/** For requests that are being answered while a hand-over begins. */
const ANSWER_MS = 2_000
const NO_CHANGE: ObjectChange = { removed: [], added: [] }

export class CniSide implements AsyncDisposable {
  readonly #options: CniSideOptions
  readonly #attachments: Attachments
  readonly #finder: PodFinder
  readonly #index: IndexWriter | undefined
  #objects: readonly KubernetesObject[] = []
  #whole = false
  /** The source tells what changes: from the second set on that is all there is to look at. */
  #follows: 'no' | 'begins' | 'goes on' = 'no'
  #server: CniServer | undefined
  #looking = false
  /** Lookups in a row that left pods without a namespace. */
  #misses = 0
  #retry: Disposable | undefined
  /** Uids of pods that were looked for. */
  readonly #lookedFor = new Set<string>()
  #stopped = false
  /** Another agent writes what is on disk. */
  #standby = false

  constructor(options: CniSideOptions) {
    const { stateDir, indexPath, node, log } = options
    this.#options = options
    this.#attachments = new Attachments(stateDir, options)
    this.#finder = new PodFinder(options)
    const onFailure = (line: string) => log.warn({ problem: line }, 'index not written')
    this.#index = indexPath === undefined ? undefined : new IndexWriter({ path: indexPath, node, onFailure })
    if (options.standby === true) this.#leaveFiles()
  }

  /** The agent before has gone: goes by what it was told, and answers in its place from `listen` on. */
  takeOver(): void {
    this.#standby = false
    this.#attachments.takeFiles()
    if (this.#whole) this.#index?.update(this.#objects)
    this.#refresh()
  }

  /** The next agent will answer; this one answers who has asked, and then only follows the world. */
  async giveWay(): Promise<void> {
    await this.#server?.close(ANSWER_MS)
    this.#leaveFiles()
    await this.#index?.idle()
  }

  #leaveFiles(): void {
    this.#standby = true
    this.#attachments.leaveFiles()
  }

  /**
   * Takes the objects of the source.
   * @param whole false while the source has not told all of them: then what is missing is not gone
   * @param change as the source tells it: each time, or never
   */
  update(objects: readonly KubernetesObject[], whole: boolean, change?: ObjectChange): void {
    this.#objects = objects
    this.#whole = whole
    if (change !== undefined && this.#follows === 'no') this.#follows = 'begins'
    this.#finder.update(objects, whole)
    if (whole && !this.#standby) this.#index?.update(objects, change)
    this.#refresh(change)
  }

  /** Those of the wishes that can be enrolled, or whose failure is worth telling: not pods that have no sandbox yet. */
  enrollable(wishes: readonly Enrolment[]): readonly Enrolment[] {
    if (this.#options.lookup === undefined && this.#options.netnsFrom === 'annotation') return wishes
    return wishes.filter(
      ({ netns, addresses, uid }) => netns !== undefined || (addresses.length > 0 && this.#lookedFor.has(uid)),
    )
  }

  /** @throws WeirError when the socket cannot be made */
  async listen(): Promise<void> {
    const { socketPath, node, log } = this.#options
    if (socketPath === undefined) return
    const decider = createDecider({
      node,
      attachments: this.#attachments,
      finder: this.#finder,
      refresh: () => this.#refresh(),
      wishes: () => this.#options.wishes(),
      settled: (uid, timeoutMs) => this.#options.settled(uid, timeoutMs),
    })
    const onHandled = (handled: HandledRequest) => {
      const { outcome } = handled
      const isWrong = outcome === 'failed' || outcome === 'unknown' || outcome === 'malformed'
      log[isWrong ? 'warn' : 'debug'](handled, 'CNI request')
      this.#options.onHandled?.(handled)
    }
    this.#server = await startCniServer({ socketPath, decider, onHandled })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    this.#retry?.[Symbol.dispose]()
    await this.#server?.[Symbol.asyncDispose]()
    await this.#index?.idle()
    this.#attachments[Symbol.dispose]()
  }

  #refresh(sourceChange: ObjectChange = NO_CHANGE): void {
    if (this.#stopped) return
    if (this.#follows !== 'no') {
      const { objects, change } = this.#attachments.follow(this.#objects, sourceChange, this.#whole)
      const isKnown = this.#follows === 'goes on'
      this.#follows = 'goes on'
      this.#options.onObjects(objects, isKnown ? change : undefined)
    } else this.#options.onObjects(this.#attachments.layOver(this.#objects, this.#whole), undefined)
    const wishes = this.#options.wishes()
    const uids = new Set(wishes.map(({ uid }) => uid))
    for (const uid of this.#lookedFor) if (!uids.has(uid)) this.#lookedFor.delete(uid)
    const isNew = wishes.some(({ netns, uid }) => netns === undefined && !this.#lookedFor.has(uid))
    if (isNew) this.#look()
  }

  #look(): void {
    const { lookup, log } = this.#options
    if (lookup === undefined || this.#looking || this.#stopped) return
    this.#retry?.[Symbol.dispose]()
    const lacking = this.#options.wishes().filter(({ netns }) => netns === undefined)
    if (lacking.length === 0) return
    this.#looking = true
    void this.#find(lookup, lacking).then((found) => {
      this.#looking = false
      for (const { uid } of lacking) this.#lookedFor.add(uid)
      this.#misses = found < lacking.length ? this.#misses + 1 : 0
      log.debug({ pods: lacking.length, found }, 'network namespaces looked up')
      if (this.#stopped) return
      this.#refresh()
      if (this.#misses === 0) return
      this.#retry = startTimer(backoffMs(this.#misses, Math.random(), RETRY), () => this.#look())
    })
  }

  /** @returns how many were found */
  async #find(lookup: NetnsLookup, lacking: readonly Enrolment[]): Promise<number> {
    let found: Map<string, FoundNetns>
    try {
      found = await lookup.find(lacking.map((wish) => ({ ...wish, uid: this.#runtimeUidOf(wish) })))
    } catch (thrown) {
      this.#options.log.warn({ problem: errorLine(thrown) }, 'network namespaces could not be looked up')
      return 0
    }
    for (const wish of lacking) {
      const { uid, namespace, name } = wish
      const netns = found.get(this.#runtimeUidOf(wish))
      if (netns === undefined) continue
      if (this.#stopped) netns.release()
      else this.#attachments.adopt({ uid, namespace, name }, netns)
    }
    return found.size
  }

  #runtimeUidOf(wish: Enrolment): string {
    const pod = this.#objects.find((object) => object.kind === 'Pod' && podKey(object.metadata) === podKey(wish))
    return (pod?.kind === 'Pod' ? runtimeUid(pod) : undefined) ?? wish.uid
  }
}
