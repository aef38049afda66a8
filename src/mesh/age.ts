/**
 * The Gateway API's tie-break between objects: oldest creation timestamp, then `namespace/name`
 * alphabetically. An unknown age (empty or unreadable) sorts last.
 */
interface Aged {
  /** RFC 3339. */
  readonly createdAt: string
  readonly namespace: string
  readonly name: string
}

/** Negative when `a` goes first. */
export function compareAge(a: Aged, b: Aged): number {
  if (a.createdAt !== b.createdAt) {
    // As the Kubernetes API server writes them, whole seconds in UTC, timestamps compare as text.
    if (
      a.createdAt.length === 20 &&
      b.createdAt.length === 20 &&
      a.createdAt.endsWith('Z') &&
      b.createdAt.endsWith('Z')
    ) {
      return a.createdAt < b.createdAt ? -1 : 1
    }
    const ageA = msOf(a)
    const ageB = msOf(b)
    if (ageA !== ageB) return ageA < ageB ? -1 : 1
  }
  const nameA = `${a.namespace}/${a.name}`
  const nameB = `${b.namespace}/${b.name}`
  if (nameA === nameB) return 0
  return nameA < nameB ? -1 : 1
}

function msOf({ createdAt }: Aged): number {
  const atMs = Date.parse(createdAt)
  return Number.isNaN(atMs) ? Number.POSITIVE_INFINITY : atMs
}
