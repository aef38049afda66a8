/** Is the machine what Weir needs: kernel, programs, limits. Pure; the bounds and their reasons are here. */
import { type CheckLine, failureLine, okLine, warningLine } from '#contract'

export interface MachineFacts {
  readonly kernelRelease: string
  /** As `process.version`. */
  readonly nodeVersion: string
  readonly isRoot: boolean
  readonly missingPrograms: readonly string[]
  /** Soft limit of file descriptors. */
  readonly openFiles: number | undefined
  readonly inotifyInstances: number | undefined
  readonly inotifyWatches: number | undefined
  /** Undefined while connection tracking is not in use, or its module not loaded. */
  readonly trackedConnections: number | undefined
  readonly trackedConnectionsMax: number | undefined
  /** Of the cgroup; undefined for none. */
  readonly memoryLimitBytes: number | undefined
  readonly stateDir: string
  /** Path and reason why it cannot be written; undefined when it can. */
  readonly stateDirTrouble: string | undefined
}

export const NEEDED_PROGRAMS = ['ip', 'iptables', 'setpriv'] as const

/** Node 26 runs on nothing older; the netfilter features that are used are older than that, and are probed anyhow. */
const KERNEL_FLOOR: Version = [4, 18]
const NODE_FLOOR: Version = [26, 0]
/** Two descriptors per proxied connection, and proxies inherit the limit. */
const OPEN_FILES_FLOOR = 16_384
/** One per process that follows files; a runtime, a kubelet and log collectors take theirs of the same user. */
const INOTIFY_INSTANCES_FLOOR = 64
const INOTIFY_WATCHES_FLOOR = 4_096
/** Agent and two proxies at rest. */
const MEMORY_FLOOR_BYTES = 256 << 20
const TRACKED_SHARE = 0.8

type Version = readonly [number, number]

const PACKAGES: Readonly<Record<string, string>> = { ip: 'iproute2', iptables: 'iptables', setpriv: 'util-linux' }

export function machineLines(facts: MachineFacts): readonly CheckLine[] {
  return [
    facts.isRoot
      ? undefined
      : failureLine('this does not run as root', 'start it with sudo: rules and namespaces were not looked at'),
    kernelLine(facts.kernelRelease),
    nodeLine(facts.nodeVersion),
    programsLine(facts.missingPrograms),
    limitsLine(facts),
    trackingLine(facts),
    memoryLine(facts.memoryLimitBytes),
    facts.stateDirTrouble === undefined
      ? okLine(`state directory ${facts.stateDir} can be written`)
      : failureLine(
          `state directory ${facts.stateDir} cannot be written (${facts.stateDirTrouble})`,
          'mount it writable, or name another with --state-dir',
        ),
  ].filter((line) => line !== undefined)
}

function kernelLine(release: string): CheckLine {
  const what = `kernel ${release}`
  return isAtLeast(release, KERNEL_FLOOR)
    ? okLine(what)
    : failureLine(`${what} is older than ${KERNEL_FLOOR.join('.')}`, 'use a newer kernel on this node')
}

function nodeLine(version: string): CheckLine {
  return isAtLeast(version, NODE_FLOOR)
    ? okLine(`Node ${version}`)
    : failureLine(`Node ${version} is older than ${NODE_FLOOR[0]}`, `run Weir with Node ${NODE_FLOOR[0]} or later`)
}

/** The first two numbers in the text count. */
function isAtLeast(text: string, [major, minor]: Version): boolean {
  const [, first = '0', second = '0'] = /(\d+)\.(\d+)/.exec(text) ?? []
  return Number(first) > major || (Number(first) === major && Number(second) >= minor)
}

function programsLine(missing: readonly string[]): CheckLine {
  if (missing.length === 0) return okLine(`programs ${NEEDED_PROGRAMS.join(', ')} are installed`)
  const packages = missing.map((program) => PACKAGES[program] ?? program)
  return failureLine(`programs missing: ${missing.join(', ')}`, `install them: apt install ${packages.join(' ')}`)
}

function limitsLine({ openFiles, inotifyInstances, inotifyWatches }: MachineFacts): CheckLine {
  const limits = [
    ['open files (ulimit -n)', openFiles, OPEN_FILES_FLOOR, 'raise LimitNOFILE of the runtime or the unit'],
    ['fs.inotify.max_user_instances', inotifyInstances, INOTIFY_INSTANCES_FLOOR, 'raise it with sysctl'],
    ['fs.inotify.max_user_watches', inotifyWatches, INOTIFY_WATCHES_FLOOR, 'raise it with sysctl'],
  ] as const
  const low = limits.filter(([, value, floor]) => value !== undefined && value < floor)
  if (low.length === 0) return okLine('limits of open files and inotify suffice')
  const what = low.map(([name, value, floor]) => `${name} is ${value}, below ${floor}`).join('; ')
  return warningLine(what, [...new Set(low.map(([, , , remedy]) => remedy))].join('; '))
}

function trackingLine({ trackedConnections: count, trackedConnectionsMax: max }: MachineFacts): CheckLine | undefined {
  if (count === undefined || max === undefined || max === 0) return undefined
  const what = `connection tracking holds ${count} of ${max}`
  if (count < max * TRACKED_SHARE) return okLine(what)
  return warningLine(what, 'raise net.netfilter.nf_conntrack_max: when it is full, new connections are dropped')
}

function memoryLine(limitBytes: number | undefined): CheckLine | undefined {
  if (limitBytes === undefined) return undefined
  const what = `memory limit ${Math.floor(limitBytes / 2 ** 20)} MiB`
  if (limitBytes >= MEMORY_FLOOR_BYTES) return okLine(what)
  return warningLine(
    `${what}, below ${MEMORY_FLOOR_BYTES >> 20} MiB`,
    'raise resources.limits.memory, or leave it away',
  )
}
