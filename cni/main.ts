/**
 * The CNI plugin, as a container runtime calls it: CNI_* variables and a network configuration on stdin, a result or
 * an error on stdout. It loads little, since each pod start waits for it, and speaks only to the node's agent.
 */
import { readFileSync, writeSync } from 'node:fs'
import { askAgent } from './plugin/ask-agent.ts'
import { MAX_CONFIGURATION_BYTES } from './plugin/network-configuration.ts'
import { ERROR_CODE, failure, type Outcome, PREFERRED_VERSION } from './plugin/outcome.ts'
import { runPlugin } from './plugin/run.ts'
import { isIndexedAsOptedIn, parsePodIndex } from './pod-index.ts'
import type { PodRef } from './protocol.ts'

/** Undefined: longer than any configuration is. */
async function readStdin(): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of process.stdin) {
    const bytes = Buffer.from(chunk)
    length += bytes.length
    if (length > MAX_CONFIGURATION_BYTES) return undefined
    chunks.push(bytes)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function askIndex(path: string, pod: PodRef): { readonly optedIn: boolean; readonly complaint?: string } {
  if (path === '') return { optedIn: false }
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (thrown) {
    const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown)
    return { optedIn: false, complaint: `no index of opted-in pods at ${path} (${code})` }
  }
  const index = parsePodIndex(text)
  const complaint = index === undefined ? { complaint: `the index of opted-in pods at ${path} cannot be read` } : {}
  return { optedIn: isIndexedAsOptedIn(index, pod), ...complaint }
}

async function run(): Promise<Outcome> {
  const stdin = await readStdin()
  if (stdin === undefined) {
    const msg = `weir: the network configuration on stdin is longer than ${MAX_CONFIGURATION_BYTES} bytes`
    return failure(PREFERRED_VERSION, ERROR_CODE.undecodable, msg)
  }
  return await runPlugin({
    env: process.env,
    stdin,
    ask: askAgent,
    isIndexedAsOptedIn: askIndex,
    wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  })
}

function end({ stdout, stderr, exitCode }: Outcome): void {
  if (stderr !== '') writeSync(2, stderr)
  for (let rest = Buffer.from(stdout); rest.length > 0; ) rest = rest.subarray(writeSync(1, rest))
  process.exitCode = exitCode
}

run().then(end, (thrown: unknown) => {
  end(
    failure(
      PREFERRED_VERSION,
      ERROR_CODE.internal,
      `weir: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
    ),
  )
})
