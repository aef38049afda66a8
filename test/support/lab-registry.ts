/**
 * One file per lab says who owns it, so that what a killed owner left behind can be found and removed.
 * The file is written before anything else is made, and removed last.
 */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeCgroups } from './lab-cgroups.ts'
import { listNetns, removeNetns } from './lab-network.ts'

const REGISTRY_DIR = '/run/weir-lab'

export interface LabRecord {
  readonly id: string
  readonly dir: string
  /** Names of the nodes, of several. */
  readonly nodes?: readonly string[]
  /** The owning process; without one the lab stays until it is taken down by hand. */
  readonly owner?: { readonly pid: number; readonly startTicks: string }
}

/** Start time of a process in clock ticks since boot (proc(5), field 22 of stat): tells a reused pid apart. */
function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

export function ownerOfThisProcess(): { readonly pid: number; readonly startTicks: string } {
  return { pid: process.pid, startTicks: startTicksOf(process.pid) ?? '' }
}

/** @returns false when the id is taken. */
export function registerLab(record: LabRecord): boolean {
  mkdirSync(REGISTRY_DIR, { recursive: true })
  try {
    writeFileSync(join(REGISTRY_DIR, `${record.id}.json`), JSON.stringify(record), { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

export function listLabs(): LabRecord[] {
  let names: string[]
  try {
    names = readdirSync(REGISTRY_DIR)
  } catch {
    return []
  }
  return names.flatMap((name) => {
    try {
      return [JSON.parse(readFileSync(join(REGISTRY_DIR, name), 'utf8')) as LabRecord]
    } catch {
      // Being written or removed right now.
      return []
    }
  })
}

export function isAbandoned(record: LabRecord): boolean {
  return record.owner !== undefined && startTicksOf(record.owner.pid) !== record.owner.startTicks
}

/** Ends all processes inside the lab's namespaces, and removes namespaces, files and the record. Idempotent. */
export function removeLab(record: LabRecord): void {
  for (const netns of listNetns(`weir-${record.id}-`)) removeNetns(netns)
  removeCgroups(`weir-${record.id}-`)
  rmSync(record.dir, { recursive: true, force: true })
  rmSync(join(REGISTRY_DIR, `${record.id}.json`), { force: true })
  try {
    rmdirSync(REGISTRY_DIR)
  } catch {
    // Other labs are registered.
  }
}

/** Removes the labs whose owner is dead. @returns their ids. */
export function collectAbandonedLabs(): string[] {
  const abandoned = listLabs().filter(isAbandoned)
  for (const record of abandoned) removeLab(record)
  return abandoned.map((record) => record.id)
}
