/** Answers one reader: what is there, in the order of time, then what comes. */
import type { FollowerState } from './container-follower.ts'
import { createReadBuffer } from './container-follower.ts'
import { JoinBudget } from './line-decoder.ts'
import { LogHistory, type TimedLine } from './log-history.ts'
import type { LogLine, LogPod } from './log-line.ts'
import { type LogQuery, wantsPod } from './log-query.ts'
import { parseAccessLine, renderLine, wantsAccess } from './log-record.ts'
import { mergeLines } from './merge-lines.ts'
import type { ReaderOutput } from './reader-output.ts'
import { Tailer, type TailTarget } from './tailer.ts'
import { shortTraceId } from './trace-mark.ts'

/** Logs that can be read. */
export interface ReadTarget extends TailTarget {
  readonly pod: LogPod
  readonly container: string
  /** Of `renderOwner`. */
  readonly owner: string
  /** Of a pod that is no more. */
  readonly isGone: boolean
  /** The mesh's own access log. */
  readonly isAccess: boolean
}

export interface ReadOptions {
  readonly query: LogQuery
  /** Asked again as long as it is followed. */
  readonly targets: () => readonly ReadTarget[]
  /** Does a message hold what `query.grep` says? */
  readonly greps: (message: string) => boolean
  readonly output: ReaderOutput
  readonly signal: AbortSignal
  readonly now: () => number
}

const MAX_JOIN_BYTES = 8 << 20
/** Blocks of all writers together, while they are merged. */
const MERGE_BYTES = 32 << 20
const RESCAN_MS = 1_000
/** Beyond it the oldest of the last lines are left out. */
const MAX_HELD_CHARACTERS = 32 << 20

/** Resolves when nobody reads any more, or all was read. */
export async function readLogs(options: ReadOptions): Promise<void> {
  const { query, output, signal } = options
  signal.addEventListener('abort', () => output.end(), { once: true })
  const targets = wantedTargets(options)
  const states =
    query.tail === undefined ? await readAll(options, targets) : await readLast(options, targets, query.tail)
  // What comes from here on is new.
  if (query.follow) await output.write('{"kind":"live"}')
  await output.finish()
  if (query.follow && !signal.aborted) await followAll(options, states)
}

function wantedTargets({ query, targets }: ReadOptions): readonly ReadTarget[] {
  return targets().filter(({ pod, container, isAccess }) =>
    isAccess ? query.requests : wantsPod(query, pod) && (query.container === '' || query.container === container),
  )
}

/** What is to be written for a line; undefined when it is not wanted. */
function recordOf({ query, greps, targets }: ReadOptions): (target: ReadTarget, line: LogLine) => string | undefined {
  const trace = query.trace
  const short = shortTraceId(trace)
  const known = new Map<string, boolean>()
  const isWanted = (name: string) => {
    let wanted = known.get(name)
    if (wanted === undefined) {
      if (known.size > 10_000) known.clear()
      const found = targets().find(({ pod }) => `${pod.namespace}/${pod.name}` === name)?.pod
      const [namespace = '', pod = ''] = name.split('/')
      wanted = name !== '' && wantsPod(query, found ?? { namespace, name: pod, labels: {} })
      known.set(name, wanted)
    }
    return wanted
  }
  return (target, line) => {
    if (query.grep !== '' && !greps(line.message)) return undefined
    if (target.isAccess) {
      const entry = parseAccessLine(line.message)
      return entry !== undefined && wantsAccess(query, entry, isWanted) ? entry.json : undefined
    }
    if (trace !== '' && !line.message.includes(trace) && !line.message.includes(short)) return undefined
    return renderLine(line, target.owner)
  }
}

function openHistory(options: ReadOptions, target: ReadTarget, buffer: Buffer, budget: JoinBudget, sliceBytes: number) {
  const record = recordOf(options)
  const { sinceMicros } = options.query
  const wants = (line: LogLine) => record(target, line) !== undefined
  return new LogHistory({ ...target, budget, sinceMicros, sliceBytes, buffer, wants })
}

async function readAll(options: ReadOptions, targets: readonly ReadTarget[]): Promise<Map<string, FollowerState>> {
  const { output, signal } = options
  const record = recordOf(options)
  const sliceBytes = Math.max(16 << 10, Math.min(256 << 10, Math.floor(MERGE_BYTES / Math.max(1, targets.length))))
  const [buffer, budget] = [createReadBuffer(), new JoinBudget(MAX_JOIN_BYTES)]
  using opened = new DisposableStack()
  const sources = targets.map((target) => {
    const history = opened.use(openHistory(options, target, buffer, budget, sliceBytes))
    return { of: { target, history }, blocks: history.lines() }
  })
  for await (const [{ target }, { line }] of mergeLines(sources)) {
    if (signal.aborted) break
    const json = record(target, line)
    if (json !== undefined) await output.write(json)
  }
  return new Map(sources.map(({ of: { target, history } }) => [target.key, history.end()]))
}

async function readLast(
  options: ReadOptions,
  targets: readonly ReadTarget[],
  count: number,
): Promise<Map<string, FollowerState>> {
  const { output, signal } = options
  const record = recordOf(options)
  const [buffer, budget] = [createReadBuffer(), new JoinBudget(MAX_JOIN_BYTES)]
  const states = new Map<string, FollowerState>()
  let last: readonly (TimedLine & { readonly target: ReadTarget })[] = []
  for (const target of targets) {
    if (signal.aborted) break
    using history = openHistory(options, target, buffer, budget, 256 << 10)
    const found = (await history.last(count)).map(({ micros, line }) => ({ micros, line, target }))
    last = withinHeld(
      [...last, ...found].sort((a, b) => a.micros - b.micros).slice(-count || last.length + found.length),
    )
    states.set(target.key, history.end())
  }
  for (const { target, line } of last) await output.write(record(target, line) ?? '')
  return states
}

function withinHeld<L extends TimedLine>(lines: readonly L[]): readonly L[] {
  let characters = 0
  const first = lines.findLastIndex(({ line }) => {
    characters += line.message.length
    return characters > MAX_HELD_CHARACTERS
  })
  return first < 0 ? lines : lines.slice(first + 1)
}

async function followAll(options: ReadOptions, states: Map<string, FollowerState>): Promise<void> {
  const { output, signal, now } = options
  const record = recordOf(options)
  const tailer = new Tailer<ReadTarget>({
    taker: {
      line: (target, line) => {
        const json = record(target, line)
        if (json !== undefined) output.offer(json)
      },
      sliceEnded: () => output.makeRoom(),
      idle: () => {
        output.flush()
        return undefined
      },
    },
    resume: ({ key }) => states.get(key),
    now,
  })
  const rescan = () => tailer.setTargets(wantedTargets(options).filter(({ isGone }) => !isGone))
  rescan()
  tailer.start()
  const timer = setInterval(rescan, RESCAN_MS)
  try {
    const aborted = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => aborted.resolve(), { once: true })
    if (!signal.aborted) await Promise.race([aborted.promise, tailer.ended])
  } finally {
    clearInterval(timer)
    await tailer.stop()
    tailer[Symbol.dispose]()
  }
}
