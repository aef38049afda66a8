/** What cgroups say of memory: of a pod, as the kubelet names its cgroup, and of the agent itself. Of both versions. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = '/sys/fs/cgroup'
/** Where the memory controller is, and what it calls use, limit, and pages of files that nobody uses. */
const VERSIONS = [
  { root: ROOT, use: 'memory.current', limit: 'memory.max' },
  { root: join(ROOT, 'memory'), use: 'memory.usage_in_bytes', limit: 'memory.limit_in_bytes' },
] as const
const INACTIVE = /^(?:total_)?inactive_file (\d+)$/gm
const TOPS = ['kubepods', 'kubepods.slice']
/** In v1 no limit is a number as large as can be. */
const NO_LIMIT = 2 ** 60

export interface PodMemoryFacts {
  readonly memoryBytes: number
  readonly memoryLimitBytes: number | undefined
}

type Versions = readonly (typeof VERSIONS)[number][]

interface Place {
  readonly folder: string
  readonly version: (typeof VERSIONS)[number]
}

/**
 * Of pods by their uid, as the kubelet counts, without pages of files that nobody uses; undefined where the agent does not
 * see the pod's cgroup.
 */
export function podMemories(): (uid: string) => PodMemoryFacts | undefined {
  const versions = VERSIONS.filter(({ root }) => TOPS.some((top) => existsSync(join(root, top))))
  return (uid) => podMemory(versions, uid)
}

function podMemory(versions: Versions, uid: string): PodMemoryFacts | undefined {
  const place = findPod(versions, uid)
  const use = place === undefined ? undefined : numberIn(join(place.folder, place.version.use))
  if (place === undefined || use === undefined) return undefined
  const inactive = [...textOf(join(place.folder, 'memory.stat')).matchAll(INACTIVE)].map(([, bytes]) => Number(bytes))
  const memoryBytes = Math.max(0, use - Math.max(0, ...inactive))
  return { memoryBytes, memoryLimitBytes: limitOf(place.folder, place.version.limit) }
}

/** As the kubelet makes them, with either of its cgroup drivers (cgroup_manager_linux.go). */
function findPod(versions: Versions, uid: string): Place | undefined {
  const escaped = uid.replaceAll('-', '_')
  for (const version of versions) {
    for (const quality of ['', 'burstable', 'besteffort']) {
      const between = quality === '' ? '' : `-${quality}`
      const ofSystemd = join(
        'kubepods.slice',
        quality === '' ? '' : `kubepods-${quality}.slice`,
        `kubepods${between}-pod${escaped}.slice`,
      )
      for (const path of [join('kubepods', quality, `pod${uid}`), ofSystemd]) {
        const folder = join(version.root, path)
        if (existsSync(join(folder, version.use))) return { folder, version }
      }
    }
  }
  return undefined
}

/** Of the agent's own cgroup, in which its proxies are, too; undefined without a limit. */
export function ownMemoryLimit(): number | undefined {
  const lines = textOf('/proc/self/cgroup').split('\n')
  const pathOf = (name: string) => lines.find((line) => line.split(':')[1] === name)?.split(':')[2] ?? '/'
  return (
    limitOf(join(ROOT, pathOf('')), 'memory.max') ??
    limitOf(join(ROOT, 'memory', pathOf('memory')), 'memory.limit_in_bytes')
  )
}

function limitOf(folder: string, file: string): number | undefined {
  const limit = numberIn(join(folder, file))
  return limit === undefined || limit > NO_LIMIT ? undefined : limit
}

function numberIn(path: string): number | undefined {
  const text = textOf(path).trim()
  return /^\d+$/.test(text) ? Number(text) : undefined
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
