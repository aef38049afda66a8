/** The process of `weir ca`: arguments, signals, exit codes. */
import pino from 'pino'
import { errorLine } from '#base'
import { CA_USAGE, parseCaArguments } from './config.ts'
import { parseRevokeArguments, REVOKE_USAGE, revoke } from './revoke.ts'
import { startCa } from './serve.ts'

// As in sysexits.h.
const EX_USAGE = 64
const EX_UNAVAILABLE = 69

/**
 * Runs the CA until it is told to stop, or revokes. Resolves with the exit code; what is wrong is on stderr, one line each.
 * @param args what follows `weir ca`
 */
export async function main(args: readonly string[]): Promise<number> {
  if (args[0] === 'revoke') return runRevoke(args.slice(1))
  const parsed = parseCaArguments(args)
  if (parsed.kind === 'help') {
    process.stdout.write(`${CA_USAGE}\n`)
    return 0
  }
  if (parsed.kind === 'errors') return fail(EX_USAGE, parsed.errors)
  const log = pino(
    { level: parsed.config.logLevel, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 1, sync: true }),
  )
  try {
    const stopped = stopSignal()
    const starting = new AbortController()
    void stopped.then(() => starting.abort())
    const ca = await startCa(parsed.config, log, starting.signal).catch((thrown: unknown) => {
      if (starting.signal.aborted) return undefined
      throw thrown
    })
    log.info({ reason: await stopped }, 'stopping')
    if (ca === undefined) return 0
    await ca.stop()
    log.info({}, 'stopped')
    return 0
  } catch (thrown) {
    return fail(EX_UNAVAILABLE, [errorLine(thrown)])
  }
}

async function runRevoke(args: readonly string[]): Promise<number> {
  const parsed = parseRevokeArguments(args)
  if (parsed.kind === 'help') {
    process.stdout.write(`${REVOKE_USAGE}\n`)
    return 0
  }
  if (parsed.kind === 'errors') return fail(EX_USAGE, parsed.errors)
  try {
    const { output, warnings } = await revoke(parsed.caDir, parsed.serials, Date.now())
    process.stdout.write(output)
    process.stderr.write(warnings.map((line) => `weir ca: warning: ${line}\n`).join(''))
    return 0
  } catch (thrown) {
    return fail(EX_UNAVAILABLE, [errorLine(thrown)])
  }
}

function fail(status: number, lines: readonly string[]): number {
  process.stderr.write(lines.map((line) => `weir ca: ${line}\n`).join(''))
  return status
}

function stopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  process.on('SIGTERM', resolve)
  process.on('SIGINT', resolve)
  return promise
}
