/**
 * Three-valued logic (Kleene) of policy rules. What cannot be known, or reads differently to different
 * servers, is UNSURE: a rule that would allow needs YES, a rule that would deny (or report) needs only
 * that the answer is not NO. So every doubt closes, never opens, also behind a negation.
 */

export const NO = 0
export const UNSURE = 1
export const YES = 2
export type Truth = typeof NO | typeof UNSURE | typeof YES

/** Inverts; UNSURE stays. */
export function not(truth: Truth): Truth {
  return truth === YES ? NO : truth === NO ? YES : UNSURE
}

/** In words, for explanations. */
export function truthText(truth: Truth): string {
  return truth === YES ? 'matches' : truth === NO ? 'does not match' : 'cannot be judged for certain'
}
