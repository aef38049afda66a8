/** Locality weights of a TrafficPolicy, strict: from where to where which share goes, as Istio's `distribute`. */
import { type Issue, integer, list, map, type Output, object, refine, string } from '#schema'

const PLACE = /^[A-Za-z0-9]([-\w.]{0,62})(\/(\*|[A-Za-z0-9][-\w.]{0,62})(\/\*)?)?$/

/** `region`, `region/zone`, each also with `/*` behind it as Istio writes it, or `*` for any place. */
export function parseLocality(text: string): { readonly region?: string; readonly zone?: string } | undefined {
  if (text === '*') return {}
  if (!PLACE.test(text)) return undefined
  const [region = '', zone = '*', below = '*'] = text.split('/')
  if (zone === '*') return below === '*' && text.split('/').length < 3 ? { region } : undefined
  return { region, zone }
}

const checkLocality = (text: string): string | undefined =>
  parseLocality(text) === undefined
    ? `expected a region (eu-1), a zone (eu-1/eu-1a) or *, got ${JSON.stringify(text)}`
    : undefined

const weights = object('strict', { from: string(checkLocality), to: map(integer(1, 100), checkLocality) })

/** A place within the other, or the same. */
function overlap(one: string, other: string): boolean {
  const [a, b] = [parseLocality(one) ?? {}, parseLocality(other) ?? {}]
  const same = (x: string | undefined, y: string | undefined) => x === undefined || y === undefined || x === y
  return same(a.region, b.region) && same(a.zone, b.zone)
}

function checkOverlap(names: readonly string[], fieldOf: (index: number) => string, issues: Issue[]): void {
  for (const [index, name] of names.entries()) {
    const other = names.slice(0, index).find((before) => overlap(before, name))
    if (other === undefined) continue
    issues.push({ field: fieldOf(index), message: `${name} overlaps with ${other}: each place may be named once` })
  }
}

export const localityWeights = refine(list(weights, { min: 1, max: 64 }), (rules, field, issues) => {
  for (const [index, { to }] of rules.entries()) {
    const names = Object.keys(to)
    const sum = Object.values(to).reduce((total, share) => total + share, 0)
    if (names.length > 64)
      issues.push({ field: `${field}[${index}].to`, message: `has ${names.length} places, at most 64 are allowed` })
    else if (sum !== 100)
      issues.push({ field: `${field}[${index}].to`, message: `the shares must be 100 together, got ${sum}` })
    else checkOverlap(names, (at) => `${field}[${index}].to[${names[at]}]`, issues)
  }
  checkOverlap(
    rules.map(({ from }) => from),
    (index) => `${field}[${index}].from`,
    issues,
  )
})

export type LocalityWeightsSpec = Output<typeof localityWeights>
