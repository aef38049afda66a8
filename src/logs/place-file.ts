/** Where shipping was, in one small file that is replaced as a whole. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { FollowerState } from './container-follower.ts'

export interface Places {
  readonly version: 1
  /** By container. */
  readonly followed: Readonly<Record<string, FollowerState>>
  /** How far the JSON file was written then. */
  readonly written?: WrittenFile
}

export interface WrittenFile {
  readonly inode: number
  readonly bytes: number
}

/** Undefined where there is none, or none that can be used: then everything that is there is new. */
export function readPlaces(path: string): Places | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return isPlaces(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** @throws as the file system does; what was there stays then */
export function writePlaces(path: string, places: Places): void {
  const next = `${path}.new`
  writeFileSync(next, JSON.stringify(places), { mode: 0o600 })
  renameSync(next, path)
}

/** Ours alone writes there: its version says all. */
function isPlaces(value: unknown): value is Places {
  return typeof value === 'object' && value !== null && 'version' in value && value.version === 1 && 'followed' in value
}
