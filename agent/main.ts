/** The agent process: arguments, the checks that must hold before anything is touched, signals, exit codes. */
import { accessSync, constants } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { errorLine } from '#base'
import { startAgent } from './compose.ts'
import { type AgentConfig, agentUsage, parseAgentArguments } from './config.ts'
import { isInstalled } from './iptables/backend.ts'
import { missingProgram } from './iptables/run-in-netns.ts'
import { StateDir } from './state-dir.ts'

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
    process.stdout.write(`${agentUsage()}\n`)
    return 0
  }
  try {
    if (parsed.kind === 'errors') throw new Refusal(EX_USAGE, ...parsed.errors)
    checkMachine()
    checkIssuerFiles(parsed.config)
    using stateDir = takeStateDir(parsed.config)
    const agent = await startAgent(parsed.config, stateDir).catch((thrown: unknown) => {
      stateDir.forget()
      throw thrown
    })
    // Where a compile cache is on, the next start finds all of this compiled, also if this one is killed.
    flushCompileCache()
    const failed = agent.failed.then((why) => new Refusal(EX_UNAVAILABLE, why))
    const reason = await Promise.race([stopSignal(), failed])
    await agent.stop(reason instanceof Refusal ? 'start failed' : reason)
    if (reason instanceof Refusal) throw reason
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

/** With --ca: told before anything is made. What is in them is the issuer's to judge. */
function checkIssuerFiles({ issuer }: AgentConfig): void {
  if (issuer.kind !== 'remote') return
  const { rootFile, tokenFile } = issuer
  const files = [
    { flag: '--ca-root', path: rootFile, what: "the CA's root certificates (root-cert.pem of its --ca-dir)" },
    { flag: '--join-token', path: tokenFile, what: "this node's token (one that the CA has in --join-tokens)" },
  ]
  const lines = files.flatMap(({ flag, path, what }) => {
    try {
      accessSync(path, constants.R_OK)
      return []
    } catch (thrown) {
      const missing = thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT'
      const why = missing ? 'does not exist' : `cannot be read (${errorLine(thrown)})`
      return [`${flag}: ${path} ${why}; name the file that holds ${what}.`]
    }
  })
  if (lines.length > 0) throw new Refusal(EX_UNAVAILABLE, ...lines)
}

function takeStateDir({ stateDir, takeOver }: AgentConfig): StateDir {
  const taken = new StateDir(stateDir)
  if (taken.isOurs || takeOver) return taken
  throw new Refusal(
    EX_TEMPFAIL,
    `Another agent runs with the state directory ${stateDir}; stop it or name another with --state-dir, or take over from it with --take-over.`,
  )
}

function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  process.on('SIGTERM', resolve)
  process.on('SIGINT', resolve)
  return promise
}
