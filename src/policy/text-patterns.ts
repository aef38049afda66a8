/**
 * The values of one string field, compiled: exact, prefix `abc*`, suffix `*abc`, presence `*`
 * (Istio AuthorizationPolicy reference, "string match"). A `*` elsewhere is an ordinary character,
 * as in Istio; where the attribute cannot contain one, the caller gives that value as doubtful.
 */

export class TextPatterns {
  readonly #exact: ReadonlySet<string>
  readonly #prefixes: readonly string[]
  readonly #suffixes: readonly string[]
  readonly #presence: boolean
  /** A value could not be compiled: what the others do not match stays open. */
  readonly doubtful: boolean

  constructor(values: readonly string[], doubtful = false) {
    const exact = new Set<string>()
    const prefixes: string[] = []
    const suffixes: string[] = []
    let presence = false
    for (const value of values) {
      if (value === '*') presence = true
      else if (value.startsWith('*')) suffixes.push(value.slice(1))
      else if (value.endsWith('*')) prefixes.push(value.slice(0, -1))
      else exact.add(value)
    }
    this.#exact = exact
    this.#prefixes = prefixes
    this.#suffixes = suffixes
    this.#presence = presence
    this.doubtful = doubtful
    Object.freeze(this)
  }

  /** Whether any value matches. An empty text is matched by no value but `''` written out. */
  matches(text: string): boolean {
    if (this.#presence && text !== '') return true
    if (this.#exact.has(text)) return true
    for (const prefix of this.#prefixes) if (text.startsWith(prefix)) return true
    for (const suffix of this.#suffixes) if (text.endsWith(suffix)) return true
    return false
  }

  /** Whether `*` is among the values: the attribute need only be there. */
  get presence(): boolean {
    return this.#presence
  }
}
