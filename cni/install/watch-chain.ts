/**
 * Keeps us chained while other network plugins write, replace and remove their configuration: looks whenever the
 * directory changes, and now and then, since not every change is told (another mount, a lost event).
 */
import { type FSWatcher, watch } from 'node:fs'
import { errorLine, startInterval } from '#base'
import { type ChainState, chainOnce } from './chain.ts'
import type { PluginEntry } from './network-list.ts'

export interface WatchChainOptions {
  readonly confDir: string
  readonly entry: PluginEntry
  /** False: the plugin was taken off the node, and stays off. */
  mayChain(): boolean
  /** Told of each state that differs from the one before; `text` is one line. */
  onState(state: ChainState | { readonly kind: 'failed'; readonly why: string }, text: string): void
  /** Between looks that no event asked for, ms. */
  readonly periodMs?: number
}

const PERIOD_MS = 5_000
/** Files come with several events; one look serves them. */
const SETTLE_MS = 20

/** Looks once before it returns. */
export function watchChain(options: WatchChainOptions): Disposable {
  const { confDir, entry } = options
  let told = ''
  let watcher: FSWatcher | undefined
  let settling: NodeJS.Timeout | undefined
  const look = () => {
    settling = undefined
    if (!options.mayChain()) return
    const state = lookOnce(confDir, entry)
    const text = describe(state)
    const isNews = text !== told || (state.kind === 'chained' && state.changed)
    told = text
    if (isNews) options.onState(state, text)
  }
  const lookSoon = () => {
    settling ??= setTimeout(look, SETTLE_MS)
  }
  const follow = () => {
    if (watcher !== undefined) return
    try {
      watcher = watch(confDir, { persistent: false }, lookSoon)
      watcher.on('error', unfollow)
    } catch {
      // Not there yet: the next period finds it.
    }
  }
  const unfollow = () => {
    watcher?.close()
    watcher = undefined
  }
  follow()
  look()
  const period = startInterval(options.periodMs ?? PERIOD_MS, () => {
    // A watch stays with a directory that was removed; a new one of that name needs another.
    unfollow()
    follow()
    look()
  })
  return {
    [Symbol.dispose]: () => {
      period[Symbol.dispose]()
      clearTimeout(settling)
      unfollow()
    },
  }
}

function lookOnce(confDir: string, entry: PluginEntry): ChainState | { readonly kind: 'failed'; readonly why: string } {
  try {
    return chainOnce(confDir, entry)
  } catch (thrown) {
    return { kind: 'failed', why: errorLine(thrown) }
  }
}

function describe(state: ChainState | { readonly kind: 'failed'; readonly why: string }): string {
  switch (state.kind) {
    case 'chained':
      return `CNI plugin chained in ${state.file}`
    case 'waiting':
      return `CNI plugin waits: ${state.why}`
    case 'unfit':
      return `CNI plugin not chained: ${state.file} ${state.why}`
    default:
      return `CNI plugin not chained: ${state.why}`
  }
}
