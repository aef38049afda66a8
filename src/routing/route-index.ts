/**
 * The matches of the routes that bind one Service port for one group of clients, indexed by path:
 * a Map of exact paths, a list of expressions, and a Map of prefixes probed longest first. Within
 * one path, candidates stand in the order of precedence and the first that holds is the answer.
 *
 * Precedence (HTTPRouteRule.matches of the Gateway API): exact path; longest prefix; a method; most
 * headers; most query parameters; oldest route; `namespace/name`; first rule. Expressions, whose place
 * is left to the implementation, stand between exact paths and prefixes, longer ones first: after the
 * prefixes, any catch-all rule would hide them. Paths are compared as sent, percent-encoding untouched.
 *
 * Of GRPCRoutes (GRPCRouteRule.matches): most characters of the service, then of the method, then most headers. As paths
 * `/Service/Method` that is the same order, but for methods of any service, which stand before what matches everything.
 */
import { type HttpFacts, isMeshName, type Route, type RouteRule } from '#contract'
import { type Condition, compileConditions, holds } from './condition.ts'
import { compileRegex, type LinearRegex } from './linear-regex.ts'
import { dependsOnPrefix } from './outcome.ts'
import { withoutTrailingSlash } from './rewrite.ts'

export interface Candidate {
  readonly route: Route
  /** Undefined when the whole route is invalid. */
  readonly rule: RouteRule | undefined
  /** Name of the rule, or its index as text. */
  readonly ruleName: string | undefined
  /** As people would say it, e.g. `PathPrefix /api`. */
  readonly path: string
  /** The matched PathPrefix. */
  readonly prefix: string | undefined
  /** What all paths that it matches begin with, as the Path of a cookie (RFC 6265 section 5.1.4). */
  readonly cookiePath: string
  readonly conditions: readonly Condition[]
  readonly hasMethod: boolean
  readonly headers: number
  readonly query: number
  /** Why it cannot be evaluated: it fails what reaches it. */
  readonly problem: string | undefined
  /** Candidates with the same number get the same decisions. */
  readonly slot: number
}

interface RegexCandidate {
  readonly regex: LinearRegex
  readonly candidate: Candidate
}

/** Told of every candidate looked at; `failed` is the condition that did not hold. */
export interface MatchTrace {
  considered(candidate: Candidate, failed: Condition | undefined): void
}

const SLASH = 0x2f

export class RouteIndex {
  /** Number of matches. */
  readonly size: number
  /** Some match looks at what the mesh knows of a request. */
  readonly readsMeshFacts: boolean
  readonly #exact: Map<string, Candidate[]>
  readonly #regexes: readonly RegexCandidate[]
  /** gRPC methods of any service. */
  readonly #anyService: readonly RegexCandidate[]
  /** By prefix without its trailing slash, but `/`. */
  readonly #prefixes: Map<string, Candidate[]>
  /** Lengths of those keys, longest first. */
  readonly #prefixLengths: readonly number[]
  /** Of the prefix `/`, which matches every path. */
  readonly #everyPath: readonly Candidate[]
  /** What cannot be evaluated: takes what is left. */
  readonly #lastResort: readonly Candidate[]

  /** `routes` in the order of `Snapshot.routesOf`: that settles the ties, for the sorts are stable. */
  constructor(routes: readonly Route[]) {
    const built = new IndexBuilder()
    for (const route of routes) built.addRoute(route)
    for (const list of built.exact.values()) list.sort(comparePrecedence)
    for (const list of built.prefixes.values()) list.sort(comparePrecedence)
    this.size = built.size
    this.readsMeshFacts = built.readsMeshFacts
    this.#exact = built.exact
    this.#prefixes = built.prefixes
    this.#lastResort = built.lastResort
    this.#regexes = built.regexes.sort(compareRegexes)
    this.#anyService = built.anyService.sort(compareRegexes)
    this.#everyPath = built.prefixes.get('') ?? []
    built.prefixes.delete('')
    this.#prefixLengths = [...new Set([...built.prefixes.keys()].map((key) => key.length))].sort((a, b) => b - a)
  }

  /** The match that decides, or undefined when none holds. */
  find(facts: HttpFacts, trace: MatchTrace | undefined): Candidate | undefined {
    const path = facts.path
    const exact = this.#exact.get(path)
    if (exact !== undefined) {
      const found = firstHolding(exact, facts, trace)
      if (found !== undefined) return found
    }
    if (this.#regexes.length > 0) {
      const found = firstMatching(this.#regexes, facts, trace)
      if (found !== undefined) return found
    }
    const lengths = this.#prefixLengths
    for (let i = 0; i < lengths.length; i += 1) {
      const length = lengths[i] ?? 0
      // A prefix ends where a path element ends.
      if (length > path.length || (length < path.length && path.charCodeAt(length) !== SLASH)) continue
      const list = this.#prefixes.get(length === path.length ? path : path.slice(0, length))
      if (list === undefined) continue
      const found = firstHolding(list, facts, trace)
      if (found !== undefined) return found
    }
    if (this.#anyService.length > 0) {
      const found = firstMatching(this.#anyService, facts, trace)
      if (found !== undefined) return found
    }
    const found = firstHolding(this.#everyPath, facts, trace)
    if (found !== undefined) return found
    return this.#lastResort.length === 0 ? undefined : firstHolding(this.#lastResort, facts, trace)
  }
}

class IndexBuilder {
  readonly exact: Map<string, Candidate[]>
  readonly regexes: RegexCandidate[]
  readonly anyService: RegexCandidate[]
  readonly prefixes: Map<string, Candidate[]>
  readonly lastResort: Candidate[]
  size: number
  readsMeshFacts: boolean
  #slots: number

  constructor() {
    this.exact = new Map()
    this.regexes = []
    this.anyService = []
    this.prefixes = new Map()
    this.lastResort = []
    this.size = 0
    this.readsMeshFacts = false
    this.#slots = 0
  }

  addRoute(route: Route): void {
    if (route.invalid !== undefined) {
      this.#addUnusable(route, undefined, undefined, route.invalid)
      return
    }
    route.rules.forEach((rule, index) => {
      this.#addRule(route, rule, rule.name ?? String(index))
    })
  }

  #addRule(route: Route, rule: RouteRule, ruleName: string): void {
    const perMatch = dependsOnPrefix(rule)
    const sharedSlot = this.#slots
    this.#slots += 1
    for (const match of rule.matches) {
      const compiled = compileConditions(match)
      const { type, value, anyService = false } = match.path
      const regex = type === 'RegularExpression' ? compileRegex(value) : undefined
      const problem = regex?.ok === false ? `path: ${regex.error}` : compiled.error
      if (problem !== undefined) {
        this.#addUnusable(route, rule, ruleName, problem)
        continue
      }
      if (compiled.all.some(({ what, name }) => what === 'header' && isMeshName(name))) this.readsMeshFacts = true
      let slot = sharedSlot
      if (perMatch) {
        slot = this.#slots
        this.#slots += 1
      }
      const candidate: Candidate = {
        route,
        rule,
        ruleName,
        path: `${type} ${value}`,
        prefix: type === 'PathPrefix' ? value : undefined,
        cookiePath: type === 'RegularExpression' ? literalPath(value) : value,
        conditions: compiled.all,
        hasMethod: match.method !== undefined,
        headers: compiled.headers,
        query: compiled.query,
        problem: undefined,
        slot,
      }
      this.size += 1
      if (regex?.ok) (anyService ? this.anyService : this.regexes).push({ regex: regex.regex, candidate })
      else if (type === 'PathPrefix') push(this.prefixes, withoutTrailingSlash(value), candidate)
      else push(this.exact, value, candidate)
    }
  }

  /**
   * A match that cannot be evaluated stands last, so that what is valid still works, and fails what is
   * left: nobody can know which of those requests it meant, and it must not count as if it were absent.
   */
  #addUnusable(route: Route, rule: RouteRule | undefined, ruleName: string | undefined, problem: string): void {
    this.lastResort.push({
      route,
      rule,
      ruleName,
      path: 'any path',
      prefix: undefined,
      cookiePath: '/',
      conditions: [],
      hasMethod: false,
      headers: 0,
      query: 0,
      problem,
      slot: this.#slots,
    })
    this.#slots += 1
    this.size += 1
  }
}

/** The elements of an expression's path before the first that is not literal. */
function literalPath(expression: string): string {
  const literal = /^\^?((?:[\w~!@%:,;=&/-]|\\[./-])*)/.exec(expression)?.[1]?.replace(/\\/g, '') ?? ''
  return literal.slice(0, literal.lastIndexOf('/')) || '/'
}

function push(map: Map<string, Candidate[]>, key: string, candidate: Candidate): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [candidate])
  else list.push(candidate)
}

/** Between matches of the same path. */
function comparePrecedence(a: Candidate, b: Candidate): number {
  if (a.hasMethod !== b.hasMethod) return a.hasMethod ? -1 : 1
  return b.headers - a.headers || b.query - a.query
}

/** Longer ones first. */
function compareRegexes(a: RegexCandidate, b: RegexCandidate): number {
  return b.candidate.path.length - a.candidate.path.length || comparePrecedence(a.candidate, b.candidate)
}

function firstMatching(
  entries: readonly RegexCandidate[],
  facts: HttpFacts,
  trace: MatchTrace | undefined,
): Candidate | undefined {
  for (const { regex, candidate } of entries) {
    if (!regex.matches(facts.path)) continue
    const failed = firstFailing(candidate, facts)
    trace?.considered(candidate, failed)
    if (failed === undefined) return candidate
  }
  return undefined
}

function firstHolding(
  list: readonly Candidate[],
  facts: HttpFacts,
  trace: MatchTrace | undefined,
): Candidate | undefined {
  for (const candidate of list) {
    const failed = firstFailing(candidate, facts)
    trace?.considered(candidate, failed)
    if (failed === undefined) return candidate
  }
  return undefined
}

function firstFailing(candidate: Candidate, facts: HttpFacts): Condition | undefined {
  for (const condition of candidate.conditions) if (!holds(condition, facts)) return condition
  return undefined
}
