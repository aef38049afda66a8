/**
 * The looks of the last minutes, and what was found in them. Windows are counted in looks, not in minutes, so that what
 * happens in them is the same whatever the time between two looks.
 */
import type { FindingKind } from '#contract'
import type { Detected } from './detected.ts'
import { fairShare, namespaceIn } from './fair-share.ts'
import type { NodeLook, PolicyChange } from './node-look.ts'

/** What goes on now: a minute of looks every ten seconds. Shorter, and one slow garbage collection is a finding. */
export const RECENT_LOOKS = 6
/** What now is compared with: the five minutes before. */
export const BASE_LOOKS = 30
const MAX_LOOKS = RECENT_LOOKS + BASE_LOOKS
const MAX_CHANGES = 50

export class LookHistory {
  readonly #looks: NodeLook[] = []
  #changes: readonly PolicyChange[] = []
  #told = new Map<string, Detected>()
  #firstMs = 0

  add(look: NodeLook): void {
    const before = this.#looks.pop()
    if (before === undefined) this.#firstMs = look.atMs
    else this.#looks.push(compacted(before))
    this.#looks.push(look)
    if (this.#looks.length > MAX_LOOKS) this.#looks.shift()
    const latestFirst = [...this.#changes, ...look.policyChanges].reverse()
    this.#changes = fairShare(latestFirst, MAX_CHANGES, ({ policy }) => namespaceIn(policy)).toReversed()
  }

  /** What was found in all that has been added, for those who ask next time whether it was so before. */
  remember(found: readonly Detected[]): void {
    this.#told = new Map(found.map((one) => [keyOf(one.kind, one.subject), one]))
  }

  /** The oldest first. */
  get looks(): readonly NodeLook[] {
    return this.#looks
  }

  get last(): NodeLook | undefined {
    return this.#looks.at(-1)
  }

  get recent(): readonly NodeLook[] {
    return this.#looks.slice(-RECENT_LOOKS)
  }

  /** Before `recent`. */
  get base(): readonly NodeLook[] {
    return this.#looks.slice(0, -RECENT_LOOKS)
  }

  /** When the first look of all was taken. */
  get firstMs(): number {
    return this.#firstMs
  }

  /** The latest last. */
  get policyChanges(): readonly PolicyChange[] {
    return this.#changes
  }

  /** Found at the look before, too: what begins at one threshold may end at a lower one. */
  told(kind: FindingKind, subject: string): Detected | undefined {
    return this.#told.get(keyOf(kind, subject))
  }
}

/** Of a look that is not the last only what went on is of interest: it holds on to nothing that the agent has let go. */
function compacted(look: NodeLook): NodeLook {
  const { version, emptyServices } = look.world
  return { ...look, problems: [], certificates: [], ejected: [], world: { ...PAST, version, emptyServices } }
}

const PAST = { podOf: () => undefined, servicesOf: () => [], urlOf: () => undefined }

/** Seconds that looks tell of. */
export function secondsOf(looks: readonly NodeLook[]): number {
  return looks.reduce((sum, { seconds }) => sum + seconds, 0)
}

/** For how many of the last looks it has been so without a break. */
export function looksSince(looks: readonly NodeLook[], isSo: (look: NodeLook) => boolean): number {
  const at = looks.findLastIndex((look) => !isSo(look))
  return looks.length - 1 - at
}

export function keyOf(kind: FindingKind, subject: string): string {
  return `${kind} ${subject}`
}
