/**
 * A request as it arrives at the backend, after the route's rewrites and header edits: what policy there judges, for
 * a rewrite may neither open a path that is forbidden nor close one that is allowed.
 */
import type { HttpFacts } from '#contract'
import { type Recognised, recogniseVersion, TranslatedRequest } from '#translation'
import { type ForwardDecision, rewriteTarget } from './decision.ts'

/** `facts` itself when the decision changes nothing of the request, which is the common case. */
export function forwardedFacts(decision: ForwardDecision | undefined, facts: HttpFacts): HttpFacts {
  if (decision === undefined) return facts
  if (decision.versions !== undefined)
    return versionedRequest(decision, facts)?.translated ?? routedFacts(decision, facts)
  return routedFacts(decision, facts)
}

/** After the filters of the route. */
function routedFacts(decision: ForwardDecision, facts: HttpFacts): HttpFacts {
  const changes = decision.rewrites || decision.hostname !== undefined || decision.requestEdits.length > 0
  return changes ? new ForwardedFacts(decision, facts) : facts
}

export interface VersionedRequest {
  readonly recognised: Recognised
  /** As the backend gets it; undefined when its version is not translated. */
  readonly translated: TranslatedRequest | undefined
  /** As it is before that. */
  readonly routed: HttpFacts
}

/** The version that a request is of where the route sends it; undefined when no versions are declared there. */
export function versionedRequest(decision: ForwardDecision, facts: HttpFacts): VersionedRequest | undefined {
  const { versions } = decision
  if (versions === undefined) return undefined
  const routed = routedFacts(decision, facts)
  const recognised = recogniseVersion(versions, routed)
  const { version } = recognised
  const translated = version?.translates === true ? new TranslatedRequest(version, routed) : undefined
  return { recognised, translated, routed }
}

class ForwardedFacts implements HttpFacts {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly authority: string
  readonly #decision: ForwardDecision
  readonly #facts: HttpFacts

  constructor(decision: ForwardDecision, facts: HttpFacts) {
    this.#decision = decision
    this.#facts = facts
    this.method = facts.method
    const target = decision.rewrites ? rewriteTarget(decision, facts) : undefined
    const question = target?.indexOf('?') ?? -1
    this.path = target === undefined ? facts.path : question < 0 ? target : target.slice(0, question)
    this.query = target === undefined ? facts.query : question < 0 ? '' : target.slice(question + 1)
    this.authority = edited(decision, 'host', decision.hostname ?? facts.authority) ?? ''
  }

  header(lowerCaseName: string): string | undefined {
    if (lowerCaseName === 'host') return this.authority === '' ? undefined : this.authority
    return edited(this.#decision, lowerCaseName, this.#facts.header(lowerCaseName))
  }
}

/** Of each modifier: set, then add, then remove, as the proxy edits. */
function edited(decision: ForwardDecision, lowerCaseName: string, before: string | undefined): string | undefined {
  let value = before
  for (const edit of decision.requestEdits) {
    for (const entry of edit.set) if (entry.name.toLowerCase() === lowerCaseName) value = entry.value
    for (const entry of edit.add) {
      if (entry.name.toLowerCase() === lowerCaseName)
        value = value === undefined ? entry.value : `${value},${entry.value}`
    }
    if (edit.remove.some((name) => name.toLowerCase() === lowerCaseName)) value = undefined
  }
  return value
}
