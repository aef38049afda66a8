/**
 * An object of a kind that is not read, in an API group that is, or the other way round: what was probably meant.
 * A policy or route that is lost to a slip of the pen is told; what belongs to others is left alone.
 */
import { type Issue, nearestName } from '#schema'

export interface ApiGroup<Kind extends string> {
  readonly versions: readonly string[]
  readonly kinds: readonly Kind[]
}

type ApiGroups = Readonly<Record<string, ApiGroup<string>>>

/** Groups of which all kinds are known: another one is a mistake, however it is spelt. */
const WHOLE_GROUPS: ReadonlySet<string> = new Set(['weir.dev', 'security.istio.io'])
/** Kinds of the Gateway API that are not the mesh's business, and near enough to one that is. */
const FOREIGN_KINDS: ReadonlySet<string> = new Set(['UDPRoute'])

/** Undefined when it is none of ours. */
export function misspeltKind(groups: ApiGroups, group: string, kind: string): Issue | undefined {
  const kinds = Object.hasOwn(groups, group) ? (groups[group]?.kinds ?? []) : []
  if (kinds.length > 0) {
    const home = Object.keys(groups).find((known) => known !== '' && groups[known]?.kinds.includes(kind))
    if (home !== undefined) return otherGroup(groups, group, kind, home)
    const near = FOREIGN_KINDS.has(kind) ? undefined : nearestName(kind, kinds)
    if (near === undefined && !WHOLE_GROUPS.has(group)) return undefined
    const guess = near === undefined ? `: known are ${kinds.join(', ')}` : `; did you mean ${near}?`
    const end = near === undefined ? '; it is not in force' : ' It is not in force'
    return { field: 'kind', message: `unknown kind ${JSON.stringify(kind)} in ${group || 'v1'}${guess}${end}` }
  }
  const meant = Object.keys(groups).filter((known) => known !== '' && groups[known]?.kinds.includes(kind))
  const near = nearestName(group, meant) ?? meant.find((known) => isRelated(group, known))
  return near === undefined ? undefined : otherGroup(groups, group, kind, near)
}

function otherGroup(groups: ApiGroups, group: string, kind: string, home: string): Issue {
  const version = `${home}/${groups[home]?.versions[0] ?? ''}`
  const message = `${kind} is not in the API group ${JSON.stringify(group || 'v1')}; did you mean ${version}? It is not in force`
  return { field: 'apiVersion', message }
}

/** Of one domain, as `authentication.istio.io` and `security.istio.io`. */
function isRelated(group: string, known: string): boolean {
  const domain = known === 'weir.dev' ? known : known.slice(known.indexOf('.') + 1)
  return group === domain || group.endsWith(`.${domain}`)
}
