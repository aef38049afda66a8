/**
 * Asks the container runtime in a process that lives for one question: what speaks gRPC costs tens of MiB, and pods that
 * nobody told of are rare.
 */
import { spawn } from 'node:child_process'
import { getCompileCacheDir } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { CriAnswer, CriQuestion } from './cri-messages.ts'

const MAIN = fileURLToPath(import.meta.resolve('./cri-main.ts'))
/** For loading, above what the question itself may take. */
const START_MS = 5_000

/** Never fails: what goes wrong is an answer. */
export function askRuntime(question: CriQuestion): Promise<CriAnswer> {
  const { promise, resolve } = Promise.withResolvers<CriAnswer>()
  const compileCacheDir = getCompileCacheDir()
  // A session of its own: a Ctrl-C in the terminal is the agent's to act on.
  const child = spawn(process.execPath, [MAIN], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: compileCacheDir === undefined ? {} : { NODE_COMPILE_CACHE: compileCacheDir },
    detached: true,
  })
  const limitMs = question.timeoutMs + START_MS
  const timer = setTimeout(() => finish({ kind: 'failure', why: `no answer within ${limitMs / 1000} s` }), limitMs)
  const finish = (answer: CriAnswer) => {
    clearTimeout(timer)
    resolve(answer)
    child.kill('SIGKILL')
  }
  child.on('message', finish)
  child.on('error', (error) => finish({ kind: 'failure', why: `could not be started: ${error.message}` }))
  child.on('exit', (code, signal) => finish({ kind: 'failure', why: `ended without an answer (${signal ?? code})` }))
  child.send(question, () => undefined)
  return promise
}
