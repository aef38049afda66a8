/**
 * Pods' network namespaces by way of their processes: the kubelet names the pod's uid in their control groups. A process
 * may end, and its number be given to another, at any moment: the namespace is held open first, then it is checked that
 * it is the pod's still.
 */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** A namespace held open; its path is good in this process, until it is released. */
export interface HeldNetns {
  readonly path: string
  release(): void
}

/** @param procDir of the host's process namespace. @returns by uid; a uid without a process of its own is missing */
export function findNetnsInProc(uids: readonly string[], procDir = '/proc'): Map<string, HeldNetns> {
  const found = new Map<string, HeldNetns>()
  const wanted = new Set(uids)
  const own = namespaceOf(join(procDir, 'self/ns/net'))
  const processes = podProcesses(procDir, wanted)
  // The sandbox's own process is the first: later ones may have made themselves other namespaces.
  for (const { pid, uid } of processes.sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1))) {
    const held = found.has(uid) ? undefined : holdNetns(procDir, pid, uid, own)
    if (held !== undefined) found.set(uid, held)
  }
  return found
}

/** Opens the network namespace of a process that must be of this pod, and not in that of the node. */
export function holdNetns(procDir: string, pid: number, uid: string, own: string | undefined): HeldNetns | undefined {
  let fd: number
  try {
    fd = openSync(join(procDir, String(pid), 'ns/net'), 'r')
  } catch {
    return undefined
  }
  const { dev, ino } = fstatSync(fd, { bigint: true })
  if (`${dev}:${ino}` === own || readPodUid(procDir, pid) !== uid) {
    closeSync(fd)
    return undefined
  }
  let open = true
  return {
    path: `/proc/self/fd/${fd}`,
    release: () => {
      if (open) closeSync(fd)
      open = false
    },
  }
}

/** Device and inode; undefined when there is none. */
export function namespaceOf(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`
}

/**
 * The pod of a control group, by the outermost part that names one (a pod may make groups inside its own): `…/pod<uid>/…` (driver cgroupfs) or `…-pod<uid with _ for ->.slice/…` (driver systemd).
 * @param text of /proc/PID/cgroup
 */
export function parsePodUid(text: string): string | undefined {
  for (const line of text.split('\n')) {
    for (const part of line.split(':').slice(2).join(':').split('/')) {
      const systemd = /^(?:.+-)?kubepods(?:-[a-z]+)?-pod([0-9a-f_]+)\.slice$/.exec(part)?.[1]
      if (systemd !== undefined) return systemd.replaceAll('_', '-')
      const cgroupfs = /^pod([0-9a-f-]+)$/.exec(part)?.[1]
      if (cgroupfs !== undefined) return cgroupfs
    }
  }
  return undefined
}

function readPodUid(procDir: string, pid: number): string | undefined {
  try {
    return parsePodUid(readFileSync(join(procDir, String(pid), 'cgroup'), 'utf8'))
  } catch {
    return undefined
  }
}

interface PodProcess {
  readonly pid: number
  readonly uid: string
  /** Ticks since boot. */
  readonly startedAt: number
}

function podProcesses(procDir: string, wanted: ReadonlySet<string>): PodProcess[] {
  return readdirSync(procDir).flatMap((name) => {
    if (!/^[1-9]\d*$/.test(name)) return []
    const pid = Number(name)
    const uid = readPodUid(procDir, pid)
    return uid !== undefined && wanted.has(uid) ? [{ pid, uid, startedAt: readStart(procDir, pid) }] : []
  })
}

/** Field 22 of /proc/PID/stat (proc_pid_stat(5)); the second, a name in parentheses, may hold anything. */
function readStart(procDir: string, pid: number): number {
  try {
    const stat = readFileSync(join(procDir, String(pid), 'stat'), 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
