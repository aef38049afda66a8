/** Questions to the agent, over its admin socket. What can go wrong comes back as a value. */
import { request } from 'node:http'
import { join } from 'node:path'
import { errorLine } from '#base'

export type Asked =
  | { readonly kind: 'answer'; readonly status: number; readonly text: string }
  | { readonly kind: 'unreachable'; readonly line: string }

/** Asks one path of the agent of that state directory. */
export type Ask = (path: string) => Promise<Asked>

const TIMEOUT_MS = 10_000
const MAX_ANSWER_BYTES = 64 << 20

export function createAsk(stateDir: string): Ask {
  const socketPath = join(stateDir, 'admin.sock')
  return (path) => askSocket(socketPath, path)
}

function askSocket(socketPath: string, path: string): Promise<Asked> {
  const { promise, resolve } = Promise.withResolvers<Asked>()
  const fail = (error: unknown) => resolve({ kind: 'unreachable', line: unreachableLine(socketPath, error) })
  const call = request({ socketPath, path, agent: false, timeout: TIMEOUT_MS }, (response) => {
    const chunks: Buffer[] = []
    let bytes = 0
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > MAX_ANSWER_BYTES) call.destroy(new Error('the answer is larger than 64 MiB'))
      else chunks.push(chunk)
    })
    response.on('end', () => {
      resolve({ kind: 'answer', status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() })
    })
    response.on('error', fail)
  })
  call.on('timeout', () => call.destroy(new Error('it did not answer within 10 s')))
  call.on('error', fail)
  call.end()
  return promise
}

/** What to do about an agent that cannot be reached. */
export function unreachableLine(socketPath: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const remedy =
    code === 'EACCES' || code === 'EPERM'
      ? 'only root may ask: run this as root'
      : code === 'ENOENT' || code === 'ECONNREFUSED'
        ? 'no agent is running there: start `weir agent`, or name its directory with --state-dir'
        : errorLine(error)
  return `Cannot reach the agent at ${socketPath}: ${remedy}`
}
