/** Runs a target in its thread and watches from outside: an input that throws, never returns or fills memory is told. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { SHARED_HEAD_BYTES, type WorkerOrder, type WorkerReport } from './worker.ts'

export interface Finding {
  readonly kind: 'wrong' | 'hang' | 'memory'
  readonly problem: string
  readonly input: Buffer
}

export interface RunResult {
  readonly tried: number
  /** Different ways in which inputs came out. */
  readonly ways: number
  readonly finding: Finding | undefined
}

export interface RunOptions {
  readonly module: string
  readonly target: string
  readonly seeds: readonly Uint8Array[]
  readonly seed: number
  readonly iterations: number
  /** Ends the run, whatever is left of the iterations. */
  readonly seconds?: number
  /** For one input, ms; default 10,000, which no input of a few KiB needs on the slowest machine. */
  readonly hangMs?: number
}

const MAX_INPUT_BYTES = 1 << 20
const HEAP_MIB = 512

export async function runTarget(options: RunOptions): Promise<RunResult> {
  const shared = new SharedArrayBuffer(SHARED_HEAD_BYTES + MAX_INPUT_BYTES)
  const head = new Int32Array(shared, 0, 3)
  const { module, target, seeds, seed, iterations, hangMs = 10_000 } = options
  const order: WorkerOrder = { module, target, seeds, seed, iterations, shared }
  const worker = new Worker(new URL('worker.ts', import.meta.url), {
    workerData: order,
    // Hooks of a test runner would slow it down and say nothing.
    env: { ...process.env, NODE_OPTIONS: '' },
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  })
  const inHand = () =>
    Buffer.from(new Uint8Array(shared, SHARED_HEAD_BYTES, Math.min(Atomics.load(head, 1), MAX_INPUT_BYTES)).slice())
  const outcome = Promise.withResolvers<RunResult>()
  const failed = (kind: Finding['kind'], problem: string): void => {
    outcome.resolve({ tried: Atomics.load(head, 0), ways: 0, finding: { kind, problem, input: inHand() } })
  }
  worker.on('message', ({ tried, ways, problem }: WorkerReport) => {
    const finding = problem === undefined ? undefined : ({ kind: 'wrong', problem, input: inHand() } as const)
    outcome.resolve({ tried, ways, finding })
  })
  worker.on('error', (error: Error & { code?: string }) => {
    const memory = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
    // Before the first input it is the harness that is broken.
    if (!memory && Atomics.load(head, 0) === 0) outcome.reject(error)
    else failed(memory ? 'memory' : 'wrong', error.stack ?? error.message)
  })
  worker.on('exit', (code) => failed('wrong', `The thread ended with ${code}`))
  let last = 0
  let since = performance.now()
  const watch = setInterval(() => {
    const begun = Atomics.load(head, 0)
    if (begun !== last || begun === 0) {
      last = begun
      since = performance.now()
    } else if (performance.now() - since > hangMs) failed('hang', `One input took longer than ${hangMs} ms`)
  }, hangMs / 10)
  const end =
    options.seconds === undefined ? undefined : setTimeout(() => Atomics.store(head, 2, 1), options.seconds * 1000)
  try {
    return await outcome.promise
  } finally {
    clearInterval(watch)
    clearTimeout(end)
    await worker.terminate()
  }
}

export const SEEDS_DIR = join(import.meta.dirname, 'seeds')
export const TARGETS_MODULE = new URL('targets.ts', import.meta.url).href

/** The kept seeds of a target, in the order of their names. */
export function seedsOf(target: string): readonly { readonly name: string; readonly bytes: Buffer }[] {
  const directory = join(SEEDS_DIR, target)
  return readdirSync(directory)
    .sort()
    .map((name) => ({ name, bytes: readFileSync(join(directory, name)) }))
}

/** Keeps an input beside the seeds; the file's path. */
export function keepInput(target: string, name: string, input: Buffer): string {
  const directory = join(SEEDS_DIR, target)
  mkdirSync(directory, { recursive: true })
  const path = join(directory, name)
  writeFileSync(path, input)
  return path
}
