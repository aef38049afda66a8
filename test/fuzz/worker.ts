/**
 * One target in a thread of its own, which the runner can end: kept seeds first, then inputs made of them. The input in
 * hand is in shared memory before it is tried, so that it is known also when the thread never returns.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { mutate } from './mutate.ts'
import { Random } from './random.ts'
import type { FuzzTarget } from './target.ts'

export interface WorkerOrder {
  /** A module with `targets`. */
  readonly module: string
  readonly target: string
  readonly seeds: readonly Uint8Array[]
  readonly seed: number
  /** Inputs to make; the seeds come on top. */
  readonly iterations: number
  /** Int32 each: inputs begun, length of the one in hand, 1 to end; then its bytes. */
  readonly shared: SharedArrayBuffer
}

export interface WorkerReport {
  readonly tried: number
  readonly ways: number
  /** What the input in hand did wrong. */
  readonly problem?: string
}

export const SHARED_HEAD_BYTES = 12
const MAX_POOL = 2000
/** What an input may leave behind in buffers, bytes. */
const MAX_BUFFER_BYTES = 256 * 1024 * 1024
const LOOK_EVERY = 256

async function work(order: WorkerOrder): Promise<WorkerReport> {
  const { targets } = (await import(order.module)) as { targets: readonly FuzzTarget[] }
  const target = targets.find(({ name }) => name === order.target)
  if (target === undefined) throw new Error(`No target ${order.target}`)
  const head = new Int32Array(order.shared, 0, 3)
  const held = new Uint8Array(order.shared, SHARED_HEAD_BYTES)
  const pool: Buffer[] = [Buffer.alloc(0)]
  const ways = new Set<string>()
  let tried = 0
  /** Undefined, or what is wrong. */
  const tryInput = (input: Buffer): string | undefined => {
    held.set(input.subarray(0, held.length))
    Atomics.store(head, 1, input.length)
    Atomics.add(head, 0, 1)
    tried += 1
    let way: string
    try {
      way = target.run(Buffer.from(input))
    } catch (thrown) {
      return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
    }
    if (!ways.has(way)) {
      ways.add(way)
      if (pool.length < MAX_POOL) pool.push(Buffer.from(input))
    }
    if (tried % LOOK_EVERY === 0 && process.memoryUsage().arrayBuffers > MAX_BUFFER_BYTES) {
      return `Buffers of more than ${MAX_BUFFER_BYTES} bytes are kept`
    }
    return undefined
  }
  for (const seed of order.seeds) {
    const input = Buffer.from(seed)
    const problem = tryInput(input)
    if (problem !== undefined) return { tried, ways: ways.size, problem }
    pool.push(input)
  }
  const random = new Random(order.seed)
  for (let i = 0; i < order.iterations && Atomics.load(head, 2) === 0; i++) {
    const problem = tryInput(mutate(random, pool, target.dictionary, target.maxBytes))
    if (problem !== undefined) return { tried, ways: ways.size, problem }
  }
  return { tried, ways: ways.size }
}

parentPort?.postMessage(await work(workerData as WorkerOrder))
