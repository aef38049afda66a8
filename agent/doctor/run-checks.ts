/** All checks at once, each within its time: one that hangs or throws is a line of its own and holds up no other. */
import { errorLine, startTimer } from '#base'
import { type CheckLine, failureLine } from '#contract'

export interface Check {
  /** What is looked at, for the line that says that it could not be. */
  readonly name: string
  /** @param signal aborted when the time is over */
  run(signal: AbortSignal): Promise<readonly CheckLine[]> | readonly CheckLine[]
}

/** Less than the admin API waits for an answer. */
export const CHECK_TIMEOUT_MS = 4_000

/** Lines in the order of the checks. Never rejects. */
export async function runChecks(checks: readonly Check[], timeoutMs = CHECK_TIMEOUT_MS): Promise<readonly CheckLine[]> {
  const lines = await Promise.all(checks.map((check) => runCheck(check, timeoutMs)))
  return lines.flat()
}

async function runCheck({ name, run }: Check, timeoutMs: number): Promise<readonly CheckLine[]> {
  const abort = new AbortController()
  const late = Promise.withResolvers<readonly CheckLine[]>()
  using _ = startTimer(timeoutMs, () => {
    late.resolve([
      failureLine(`${name}: not known within ${Math.ceil(timeoutMs / 1000)} s`, 'ask again; is the node overloaded?'),
    ])
    abort.abort(new Error('the time for this check is over'))
  })
  try {
    return await Promise.race([Promise.resolve(abort.signal).then(run), late.promise])
  } catch (thrown) {
    return [failureLine(`${name}: could not be looked at`, errorLine(thrown))]
  }
}
