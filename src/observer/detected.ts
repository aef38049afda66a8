/** A finding before it is ranked: with what decides its rank, and what would explain it. */
import type { Finding } from '#contract'
import type { LookHistory } from './look-history.ts'
import type { PolicyChange } from './node-look.ts'

export interface Detected extends Finding {
  /** Requests that it hurt in the window, by which equals are ranked. */
  readonly hurt: number
  /**
   * Keys (`kind subject`) of findings that this one follows from, the likeliest first: when one of them is found, too, this
   * one is told in its evidence.
   */
  readonly follows?: readonly string[]
  /** What it began with. */
  readonly change?: PolicyChange
}

/** One kind of fault: looks at what was seen, and tells what it finds. Without state, and without a clock. */
export type Detector = (history: LookHistory) => readonly Detected[]
