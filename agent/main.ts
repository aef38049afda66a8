/** The agent process: arguments, the checks that must hold before anything is touched, signals, exit codes. */
import { mkdirSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { errorLine } from '#base'
import { lockFile } from '#linux'
import { startAgent } from './compose.ts'
import { AGENT_USAGE, type AgentConfig, parseAgentArguments } from './config.ts'
import { isInstalled } from './iptables/backend.ts'
import { missingProgram } from './iptables/run-in-netns.ts'

// As in sysexits.h.
const EX_USAGE = 64
const EX_UNAVAILABLE = 69
const EX_TEMPFAIL = 75
const EX_NOPERM = 77

class Refusal extends Error {
  readonly status: number
  readonly lines: readonly string[]

  constructor(status: number, ...lines: readonly string[]) {
    super(lines.join(' '))
    this.status = status
    this.lines = lines
  }
}

/**
 * Runs the agent until it is told to stop. Resolves with the exit code; what is wrong is on stderr, one line each.
 * @param args what follows `weir agent`
 */
export async function main(args: readonly string[]): Promise<number> {
  const parsed = parseAgentArguments(args)
  if (parsed.kind === 'help') {
    process.stdout.write(`${AGENT_USAGE}\n`)
    return 0
  }
  try {
    if (parsed.kind === 'errors') throw new Refusal(EX_USAGE, ...parsed.errors)
    checkMachine()
    using _lock = takeStateDir(parsed.config)
    const agent = await startAgent(parsed.config)
    // Where a compile cache is on, the next start finds all of this compiled, also if this one is killed.
    flushCompileCache()
    await agent.stop(await stopSignal())
    // Nothing should hold the process now; if something does, it does not hold the node's upgrade.
    setTimeout(() => process.exit(0), 1_000).unref()
    return 0
  } catch (thrown) {
    const { status, lines } =
      thrown instanceof Refusal ? thrown : { status: EX_UNAVAILABLE, lines: [errorLine(thrown)] }
    process.stderr.write(lines.map((line) => `weir agent: ${line}\n`).join(''))
    return status
  }
}

function checkMachine(): void {
  if (process.geteuid?.() !== 0) {
    throw new Refusal(EX_NOPERM, 'Needs root, to enter the network namespaces of pods; start it with sudo.')
  }
  const missing = ['ip', 'iptables', 'setpriv'].filter((program) => !isInstalled(program))
  if (missing.length > 0)
    throw new Refusal(EX_UNAVAILABLE, ...missing.map((program) => missingProgram(program).message))
}

function takeStateDir({ stateDir }: AgentConfig): Disposable {
  let lock: Disposable | undefined
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o755 })
    lock = lockFile(join(stateDir, 'lock'))
  } catch (thrown) {
    throw new Refusal(EX_UNAVAILABLE, `Cannot use the state directory ${stateDir}: ${errorLine(thrown)}`)
  }
  if (lock !== undefined) return lock
  throw new Refusal(
    EX_TEMPFAIL,
    `Another agent runs with the state directory ${stateDir}; stop it or name another with --state-dir.`,
  )
}

function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  process.on('SIGTERM', resolve)
  process.on('SIGINT', resolve)
  return promise
}
