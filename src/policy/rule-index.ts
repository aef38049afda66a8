/**
 * The rules of one action, found by what a subject must have for them: so that thousands of rules about other callers and
 * other paths cost nothing. What it finds is what looking at all of them in their order would.
 */
import type { PolicyRule } from './policy-set.ts'
import { judgeRule } from './rule.ts'
import type { Subject } from './subject.ts'
import type { Truth } from './truth.ts'

/** Fewer are looked at one by one. */
const FEW = 16
const SLASH = 47

interface Ranked {
  /** Place in the order in which rules are asked. */
  readonly rank: number
  readonly rule: PolicyRule
}

export class RuleIndex {
  readonly #all: readonly Ranked[]
  /** Those without a key, in their order; all when they are few. */
  readonly #rest: readonly Ranked[]
  readonly #byPrincipal: ReadonlyMap<string, readonly Ranked[]>
  readonly #byPath: ReadonlyMap<string, readonly Ranked[]>
  /** Scratch of `first`. */
  #found: Ranked | undefined

  /** In the order in which they are asked. */
  constructor(rules: readonly PolicyRule[]) {
    this.#all = rules.map((rule, rank) => ({ rank, rule }))
    const byPrincipal = new Map<string, Ranked[]>()
    const byPath = new Map<string, Ranked[]>()
    const rest: Ranked[] = []
    const counts = rules.length > FEW ? countKeys(rules) : undefined
    for (const ranked of this.#all) {
      const { principals, paths } = ranked.rule.keys
      const [one, other] = [crowd(principals, counts?.principals), crowd(paths, counts?.paths)]
      if (counts === undefined || (one === undefined && other === undefined)) rest.push(ranked)
      // By what fewer other rules have, too.
      else if (principals !== undefined && one !== undefined && (other === undefined || one <= other)) {
        for (const key of principals) put(byPrincipal, key, ranked)
      } else for (const key of paths ?? []) put(byPath, key, ranked)
    }
    this.#rest = rest
    this.#byPrincipal = byPrincipal
    this.#byPath = byPath
    this.#found = undefined
  }

  /** The first rule that holds at least so certainly. Allocates nothing but the prefixes of a path, where any is asked for. */
  first(subject: Subject, needed: Truth): PolicyRule | undefined {
    this.#found = undefined
    const { http } = subject
    if (http === undefined && this.#byPath.size > 0) {
      // Without a request every path is in doubt, and doubt may be a match.
      this.#look(this.#all, subject, needed)
      return this.#take()
    }
    this.#look(this.#rest, subject, needed)
    if (this.#byPrincipal.size > 0) {
      const principal = subject.connection.source?.principal
      if (principal !== undefined) this.#look(this.#byPrincipal.get(principal), subject, needed)
    }
    if (this.#byPath.size > 0) {
      const paths = subject.paths
      if (paths === undefined) this.#look(this.#all, subject, needed)
      else for (const path of paths) this.#lookAlong(path, subject, needed)
    }
    return this.#take()
  }

  #take(): PolicyRule | undefined {
    const found = this.#found?.rule
    this.#found = undefined
    return found
  }

  #lookAlong(path: string, subject: Subject, needed: Truth): void {
    this.#look(this.#byPath.get(''), subject, needed)
    for (let i = 1; i < path.length; i++) {
      if (path.charCodeAt(i) === SLASH) this.#look(this.#byPath.get(path.slice(0, i)), subject, needed)
    }
    this.#look(this.#byPath.get(path), subject, needed)
  }

  #look(list: readonly Ranked[] | undefined, subject: Subject, needed: Truth): void {
    if (list === undefined) return
    for (const ranked of list) {
      if (this.#found !== undefined && ranked.rank >= this.#found.rank) return
      if (judgeRule(ranked.rule.rule, subject) >= needed) {
        this.#found = ranked
        return
      }
    }
  }
}

function put(map: Map<string, Ranked[]>, key: string, ranked: Ranked): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [ranked])
  else list.push(ranked)
}

interface KeyCounts {
  readonly principals: ReadonlyMap<string, number>
  readonly paths: ReadonlyMap<string, number>
}

function countKeys(rules: readonly PolicyRule[]): KeyCounts {
  const principals = new Map<string, number>()
  const paths = new Map<string, number>()
  for (const { keys } of rules) {
    for (const key of keys.principals ?? []) principals.set(key, (principals.get(key) ?? 0) + 1)
    for (const key of keys.paths ?? []) paths.set(key, (paths.get(key) ?? 0) + 1)
  }
  return { principals, paths }
}

/** How many rules have the commonest of these keys. */
function crowd(
  keys: readonly string[] | undefined,
  counts: ReadonlyMap<string, number> | undefined,
): number | undefined {
  if (keys === undefined || counts === undefined) return undefined
  return keys.reduce((most, key) => Math.max(most, counts.get(key) ?? 0), 0)
}
