/** The agent process: arguments, the checks that must hold before anything is touched, signals, exit codes. */
import { mkdirSync } from 'node:fs'
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
const EX_SOFTWARE = 70
const EX_TEMPFAIL = 75
const EX_NOPERM = 77

function fail(status: number, ...lines: readonly string[]): never {
  process.stderr.write(lines.map((line) => `weir agent: ${line}\n`).join(''))
  process.exit(status)
}

function takeStateDir({ stateDir }: AgentConfig): Disposable {
  let lock: Disposable | undefined
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o755 })
    lock = lockFile(join(stateDir, 'lock'))
  } catch (thrown) {
    fail(EX_UNAVAILABLE, `Cannot use the state directory ${stateDir}: ${errorLine(thrown)}`)
  }
  return (
    lock ??
    fail(
      EX_TEMPFAIL,
      `Another agent runs with the state directory ${stateDir}; stop it or name another with --state-dir.`,
    )
  )
}

function readConfig(): AgentConfig {
  const parsed = parseAgentArguments(process.argv.slice(2))
  switch (parsed.kind) {
    case 'help':
      process.stdout.write(`${AGENT_USAGE}\n`)
      process.exit(0)
    case 'errors':
      return fail(EX_USAGE, ...parsed.errors)
    case 'config':
      return parsed.config
  }
}

const config = readConfig()
if (process.geteuid?.() !== 0)
  fail(EX_NOPERM, 'Needs root, to enter the network namespaces of pods; start it with sudo.')
for (const program of ['ip', 'iptables', 'setpriv']) {
  if (!isInstalled(program)) fail(EX_UNAVAILABLE, missingProgram(program).message)
}
const lock = takeStateDir(config)

try {
  const agent = await startAgent(config)
  let stopping = false
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) return
    stopping = true
    agent.stop(signal).then(
      () => {
        lock[Symbol.dispose]()
        process.exit(0)
      },
      (thrown: unknown) => fail(EX_SOFTWARE, `Stopping failed: ${errorLine(thrown)}`),
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
} catch (thrown) {
  fail(EX_UNAVAILABLE, errorLine(thrown))
}
