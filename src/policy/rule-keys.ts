/**
 * What a subject must have for a rule to match it at all, be it for certain or not: one of some principals, or a path below
 * one of some paths. Undefined where that cannot be told from the text of the rule alone.
 */
import type { AuthorizationRule } from '#contract'
import { canonicalPathLiteral, canonicalWholePath } from './normalize-path.ts'

export interface RuleKeys {
  readonly principals: readonly string[] | undefined
  /** Whole segments, without a slash at the end; the empty text for all paths. */
  readonly paths: readonly string[] | undefined
}

const SPIFFE_PREFIX = 'spiffe://'

export function ruleKeys({ from, to }: AuthorizationRule): RuleKeys {
  return {
    principals: keysOf(from, ({ principals }) => principals, principalKey),
    paths: keysOf(to, ({ paths }) => paths, pathKey),
  }
}

/** Every entry of a clause must have the field, and every value of it a key: any one of them may be what matches. */
function keysOf<T>(
  entries: readonly T[] | undefined,
  field: (entry: T) => readonly string[] | undefined,
  keyOf: (value: string) => string | undefined,
): readonly string[] | undefined {
  if (entries === undefined || entries.length === 0) return undefined
  const keys = new Set<string>()
  for (const entry of entries) {
    const values = field(entry)
    if (values === undefined || values.length === 0) return undefined
    for (const value of values) {
      const key = keyOf(value)
      if (key === undefined) return undefined
      keys.add(key)
    }
  }
  return [...keys]
}

function principalKey(value: string): string | undefined {
  if (value.includes('*')) return undefined
  return value.startsWith(SPIFFE_PREFIX) ? value.slice(SPIFFE_PREFIX.length) : value
}

/** Of a template or a prefix the whole segments before its first operator. */
function pathKey(value: string): string | undefined {
  if (!value.startsWith('/')) return undefined
  const open = value.search(/\{|\*/)
  if (open < 0) return canonicalWholePath(value)
  // A star elsewhere than at the end is an ordinary character, and stands behind the part that counts.
  const literal = canonicalPathLiteral(value.slice(0, open))
  return literal?.slice(0, Math.max(0, literal.lastIndexOf('/')))
}
