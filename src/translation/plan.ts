/** A Service's versions made ready for its requests, once per policy. */
import type { ApiVersion, BodyRule, QueryTranslation, Versioning, VersionMatch } from '#contract'
import { type CompiledRule, compileRule } from './body-rules.ts'

export interface VersioningPlan {
  readonly versions: readonly VersionPlan[]
  /** Of requests that name none. */
  readonly otherwise: VersionPlan | undefined
  readonly refusesUnknown: boolean
  /** Without a slash at their end; longest first. */
  readonly prefixes: readonly { readonly prefix: string; readonly version: VersionPlan }[]
  /** Names of headers that tell of a version, in the order in which they are declared. */
  readonly headers: readonly string[]
  readonly mediaTypes: boolean
  readonly maxBodyBytes: number
}

export interface VersionPlan {
  readonly name: string
  readonly matches: readonly VersionMatch[]
  readonly declared: ApiVersion
  /** Longest first, without a slash at their end. */
  readonly prefixes: readonly { readonly from: string; readonly to: string }[]
  readonly query: QueryTranslation | undefined
  readonly requestBody: readonly CompiledRule[]
  readonly responseBody: readonly CompiledRule[]
  readonly errorBody: readonly CompiledRule[]
  /** Anything of a request or its answer changes, but by the headers of a deprecation. */
  readonly translates: boolean
  /** Anything of the answer may. */
  readonly changesAnswers: boolean
}

const plans = new WeakMap<Versioning, VersioningPlan>()

/** The same plan for the same versioning. */
export function planVersioning(versioning: Versioning): VersioningPlan {
  let plan = plans.get(versioning)
  if (plan === undefined) {
    plan = makePlan(versioning)
    plans.set(versioning, plan)
  }
  return plan
}

function makePlan(versioning: Versioning): VersioningPlan {
  const versions = versioning.versions.map(planVersion)
  const prefixes: { prefix: string; version: VersionPlan }[] = []
  const headers = new Set<string>()
  let mediaTypes = false
  for (const version of versions) {
    for (const match of version.matches) {
      if (match.type === 'PathPrefix') prefixes.push({ prefix: withoutSlash(match.value), version })
      else if (match.type === 'Header') headers.add(match.name)
      else mediaTypes = true
    }
  }
  prefixes.sort((a, b) => b.prefix.length - a.prefix.length)
  return Object.freeze({
    versions,
    otherwise: versions.find(({ name }) => name === versioning.default),
    refusesUnknown: versioning.unknown === 'Refuse',
    prefixes,
    headers: [...headers],
    mediaTypes,
    maxBodyBytes: versioning.maxBodyBytes,
  })
}

function planVersion(declared: ApiVersion): VersionPlan {
  const { request, response } = declared
  const rules = (list: readonly BodyRule[] = []) => list.map(compileRule)
  return Object.freeze({
    name: declared.name,
    matches: declared.matches,
    declared,
    prefixes: (request?.prefixes ?? [])
      .map(({ from, to }) => ({ from: withoutSlash(from), to: withoutSlash(to) }))
      .sort((a, b) => b.from.length - a.from.length),
    query: request?.query,
    requestBody: rules(request?.body),
    responseBody: rules(response?.body),
    errorBody: rules(response?.errorBody),
    translates: request !== undefined || response !== undefined,
    changesAnswers: response !== undefined || (request?.prefixes.length ?? 0) > 0 || declared.deprecation !== undefined,
  })
}

function withoutSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}
