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

function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const entries = Object.entries(a)
  if (entries.length !== Object.keys(b).length) return false
  const other = new Map<string, unknown>(Object.entries(b))
  return entries.every(([key, value]) => other.has(key) && equal(value, other.get(key)))
}
