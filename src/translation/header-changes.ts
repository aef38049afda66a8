/**
 * What becomes of the header fields of a request or an answer when its version is translated. Collected by name, so that
 * one rule sees what those before it did, and ends in one `HeaderEdit`.
 */
import type { HeaderEdit, HeaderTranslation } from '#contract'

type Lookup = (lowerCaseName: string) => string | undefined

export class HeaderChanges {
  readonly #before: Lookup
  /** By name in lower case; undefined: it goes. */
  readonly #changes = new Map<string, { readonly name: string; readonly value: string } | undefined>()

  constructor(before: Lookup) {
    this.#before = before
  }

  get(lowerCaseName: string): string | undefined {
    return this.#changes.has(lowerCaseName) ? this.#changes.get(lowerCaseName)?.value : this.#before(lowerCaseName)
  }

  set(name: string, value: string): void {
    this.#changes.set(name.toLowerCase(), { name, value })
  }

  remove(lowerCaseName: string): void {
    if (this.get(lowerCaseName) !== undefined) this.#changes.set(lowerCaseName, undefined)
  }

  apply({ rename, set, replace, remove }: HeaderTranslation): void {
    for (const { from, to } of rename) {
      const value = this.get(from)
      if (value === undefined) continue
      this.remove(from)
      this.set(to, value)
    }
    for (const { name, value } of set) this.set(name, value)
    for (const { name, value } of replace) if (this.get(name.toLowerCase()) !== undefined) this.set(name, value)
    for (const name of remove) this.remove(name)
  }

  edit(): HeaderEdit {
    const set: { name: string; value: string }[] = []
    const remove: string[] = []
    for (const [name, change] of this.#changes) {
      if (change === undefined) remove.push(name)
      else set.push(change)
    }
    return { set, add: [], remove }
  }
}
