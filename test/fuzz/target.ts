/** What is fuzzed, as the runner sees it. */

export interface FuzzTarget {
  readonly name: string
  /** Words of the format, latin1. */
  readonly dictionary: readonly string[]
  readonly maxBytes: number
  /**
   * Throws when something is wrong with the code under test. Returns in a word how the input came out: inputs that come
   * out in a new way are kept to be mutated further.
   */
  run(input: Buffer): string
}

/** The input shows that a rule does not hold. */
export class BrokenRule extends Error {
  override readonly name = 'BrokenRule'
}

export function rule(holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new BrokenRule(what())
}

/** Places to cut `length` bytes at: all of them while they are few, else spread over the whole. */
export function cutsOf(length: number, most = 48): number[] {
  if (length <= most) return Array.from({ length }, (_, i) => i)
  const step = Math.max(1, Math.floor(length / most))
  const cuts = new Set([0, 1, 2, length - 2, length - 1])
  for (let at = (length * 7) % step; at < length; at += step) cuts.add(at)
  return [...cuts].filter((at) => at >= 0 && at < length).sort((a, b) => a - b)
}
