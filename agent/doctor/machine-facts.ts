/** What the machine says of itself, as far as Weir depends on it. What cannot be read is undefined. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, statfsSync } from 'node:fs'
import { release } from 'node:os'
import { dirname, join } from 'node:path'
import { isInstalled } from '../iptables/backend.ts'
import { type MachineFacts, NEEDED_PROGRAMS } from './machine-lines.ts'

export function readMachineFacts(stateDir: string): MachineFacts {
  return {
    kernelRelease: release(),
    nodeVersion: process.version,
    isRoot: process.geteuid?.() === 0,
    missingPrograms: NEEDED_PROGRAMS.filter((program) => !isInstalled(program)),
    openFiles: softLimit('Max open files'),
    inotifyInstances: readNumber('/proc/sys/fs/inotify/max_user_instances'),
    inotifyWatches: readNumber('/proc/sys/fs/inotify/max_user_watches'),
    trackedConnections: readNumber('/proc/sys/net/netfilter/nf_conntrack_count'),
    trackedConnectionsMax: readNumber('/proc/sys/net/netfilter/nf_conntrack_max'),
    memoryLimitBytes: memoryLimit(),
    stateDir,
    stateDirTrouble: stateDirTrouble(stateDir),
  }
}

function softLimit(name: string): number | undefined {
  const line = readText('/proc/self/limits')
    ?.split('\n')
    .find((text) => text.startsWith(name))
  const soft = line?.slice(name.length).trim().split(/\s+/)[0]
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : soft === undefined ? undefined : Number(soft)
}

/** Of the cgroup (v2, or the memory controller of v1) this runs in; undefined without one. */
function memoryLimit(): number | undefined {
  const lines = readText('/proc/self/cgroup')?.split('\n') ?? []
  const unified = lines.find((line) => line.startsWith('0::'))?.slice('0::'.length)
  const paths = [
    ...(unified === undefined ? [] : [join('/sys/fs/cgroup', unified, 'memory.max')]),
    '/sys/fs/cgroup/memory.max',
    '/sys/fs/cgroup/memory/memory.limit_in_bytes',
  ]
  const text = paths
    .map(readText)
    .find((found) => found !== undefined)
    ?.trim()
  const limit = Number(text)
  // v1 says `no limit` by a number near 2^63.
  return text === undefined || !Number.isFinite(limit) || limit > Number.MAX_SAFE_INTEGER ? undefined : limit
}

/** File systems in which a directory can be made and keeps nothing, or cannot be made: linux/magic.h. */
const PSEUDO_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x9fa0, 'proc'],
  [0x62656572, 'sysfs'],
  [0x0027e0eb, 'cgroup'],
  [0x63677270, 'cgroup2'],
  [0x1cd1, 'devpts'],
  [0x64626720, 'debugfs'],
  [0x74726163, 'tracefs'],
  [0x73636673, 'securityfs'],
  [0x62656570, 'configfs'],
  [0xcafe4a11, 'bpf'],
  [0x19800202, 'mqueue'],
  [0xde5e81e4, 'efivarfs'],
])

/** Tried, in the directory or in the nearest one that is there: permissions do not tell of read-only mounts and quotas. */
function stateDirTrouble(stateDir: string): string | undefined {
  let path = stateDir
  while (!existsSync(path) && dirname(path) !== path) path = dirname(path)
  try {
    const pseudo = PSEUDO_FILE_SYSTEMS.get(statfsSync(path).type)
    if (pseudo !== undefined) return `${path}: a pseudo file system, ${pseudo}`
    rmdirSync(mkdtempSync(join(path, '.weir-check-')))
    readdirSync(path)
    return undefined
  } catch (thrown) {
    return thrown instanceof Error && 'code' in thrown
      ? `${path}: ${String(thrown.code)}`
      : `${path}: ${String(thrown)}`
  }
}

function readNumber(path: string): number | undefined {
  const text = readText(path)?.trim()
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}
