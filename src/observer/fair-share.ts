/**
 * Which of too many are told, when whoever owns a namespace can make as many as it likes: in rounds, the first of each
 * namespace, then the second of each. None can crowd out what is wrong with another's.
 */

/** @param items the most important first, and so they stay @param namespaceOf empty: nobody's */
export function fairShare<T>(items: readonly T[], max: number, namespaceOf: (item: T) => string): readonly T[] {
  if (items.length <= max) return items
  const counts = new Map<string, number>()
  const ranked = items.map((item, at) => {
    const namespace = namespaceOf(item)
    const round = counts.get(namespace) ?? 0
    counts.set(namespace, round + 1)
    return { item, at, round }
  })
  return ranked
    .sort((a, b) => a.round - b.round || a.at - b.at)
    .slice(0, max)
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

/** Of a subject as findings have it: `ns/name`, `Kind ns/name`, `ns/name -> …`, a SPIFFE ID; empty: it has none. */
export function namespaceIn(subject: string): string {
  const [, ofIdentity, ofName] = /^spiffe:\/\/[^/]*\/ns\/([^/]+)\/|(?:^| )([a-z0-9-]+)\//.exec(subject) ?? []
  return ofIdentity ?? ofName ?? ''
}
