/** Does this node's clock agree with the API server's and with the CA's. Pure. */
import { type CheckLine, failureLine, okLine, warningLine } from '#contract'

/** Certificates of Weir's CAs begin a minute early; beyond that a fresh one is refused as not yet valid. */
const FAILURE_MS = 60_000
/** A Date header has whole seconds, and an answer takes its time. */
const WARNING_MS = 5_000
const REMEDY = 'synchronise the clocks (chrony, systemd-timesyncd): certificates and tokens depend on them'

export interface ServerClock {
  /** The Date header of an answer, ms since the epoch; undefined when it had none. */
  readonly dateMs: number | undefined
  /** This node's clock when the question went and when the answer came, ms since the epoch. */
  readonly askedMs: number
  readonly answeredMs: number
}

export function serverClockLine({ dateMs, askedMs, answeredMs }: ServerClock): CheckLine {
  if (dateMs === undefined)
    return warningLine('clock: the API server does not say what time it is', 'look at its clock')
  // The header cuts the fraction of its second off.
  const ahead = askedMs - (dateMs + 1_000)
  const behind = dateMs - answeredMs
  const skewMs = Math.max(ahead, behind, 0)
  if (skewMs <= WARNING_MS) return okLine("clock agrees with the API server's")
  const what = `clock is ${Math.round(skewMs / 1_000)} s ${ahead > behind ? 'ahead of' : 'behind'} the API server's`
  return skewMs > FAILURE_MS ? failureLine(what, REMEDY) : warningLine(what, REMEDY)
}

/** @param identities those with a certificate have a `notBeforeMs` above 0 */
export function certificateClockLines(
  identities: readonly { readonly spiffeId: string; readonly notBeforeMs: number }[],
  nowMs: number,
): readonly CheckLine[] {
  const early = identities.filter(({ notBeforeMs }) => notBeforeMs > nowMs)
  const [worst] = early.toSorted((a, b) => b.notBeforeMs - a.notBeforeMs)
  if (worst === undefined) return []
  const seconds = Math.ceil((worst.notBeforeMs - nowMs) / 1_000)
  const what = `clock is behind the CA's: ${early.length} certificates begin later, that of ${worst.spiffeId} in ${seconds} s`
  return [failureLine(what, REMEDY)]
}
