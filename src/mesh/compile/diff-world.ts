/** What turns one world into another: the delta that proxies are sent. */
import type { MeshObject } from '#contract'
import type { WorldObjects } from './compile-world.ts'

export interface WorldDelta {
  readonly upsert: readonly MeshObject[]
  /** Keys as made by `meshKey`. */
  readonly remove: readonly string[]
}

/** Objects are compared by their values, as they travel in JSON. */
export function diffWorld(before: WorldObjects, after: WorldObjects): WorldDelta {
  const upsert: MeshObject[] = []
  for (const [key, object] of after) {
    if (!equal(before.get(key), object)) upsert.push(object)
  }
  return { upsert, remove: [...before.keys()].filter((key) => !after.has(key)) }
}

/** By value, as they travel in JSON. */
export function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false
    return a.every((value, index) => equal(value, b[index]))
  }
  const [one, other] = [a as Readonly<Record<string, unknown>>, b as Readonly<Record<string, unknown>>]
  const names = Object.keys(one)
  if (names.length !== Object.keys(other).length) return false
  for (const name of names) if (!Object.hasOwn(other, name) || !equal(one[name], other[name])) return false
  return true
}
