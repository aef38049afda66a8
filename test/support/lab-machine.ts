/**
 * A lab's node as a whole machine: besides the network it has its own processes, mounts, name and IPC. Its /run, /tmp
 * apart, is empty, and what is written below /etc, /opt and /var lies over the real ones, in memory; so that programs
 * find the paths of a Linux host and the real host keeps none of it. Its process 1 ends when this process does,
 * however, and with it every process and mount of the machine.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { removeCgroups } from './lab-cgroups.ts'
import { LabHost } from './lab-host.ts'
import type { LabNode } from './lab-node.ts'
import { type ExecOptions, type ExecResult, execInNetns, LabProcess, type SpawnOptions } from './lab-process.ts'

/**
 * Process 1. /sys is mounted anew, as it shows the interfaces of the namespace that mounts it, and the cgroups are
 * moved back into it. The namespaces of other labs are let go of. All mounts are shared at the end, as a kubelet wants them, with nobody outside.
 * bash reaps orphans while it waits for the end of its input.
 */
const INIT = `set -euo pipefail
umount -R -l /run/netns 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lab/cgroup /run/netns /run/lock
mount --rbind /sys/fs/cgroup /run/lab/cgroup
mount -t sysfs sysfs /sys
mount --move /run/lab/cgroup /sys/fs/cgroup
for place in etc opt var; do
  mkdir -p /run/lab/$place/upper /run/lab/$place/work
  mount -t overlay -o "lowerdir=/$place,upperdir=/run/lab/$place/upper,workdir=/run/lab/$place/work" overlay /$place
done
ip link set lo up
hostname "$1"
mount --make-rshared /
echo booted
read -r _ || true`

const UNSHARE = [
  '--mount',
  '--pid',
  '--uts',
  '--ipc',
  '--fork',
  '--kill-child',
  '--mount-proc',
  '--propagation=private',
]

/** A process in a machine: signals go to the program, past what put it there. */
class MachineProcess extends LabProcess {
  override kill(signal: NodeJS.Signals): void {
    const inner = this.running ? onlyChildOf(this.pid) : undefined
    if (inner === undefined) super.kill(signal)
    else process.kill(inner, signal)
  }
}

export class LabMachine extends LabHost implements AsyncDisposable {
  readonly #init: LabProcess
  readonly #initPid: number

  private constructor(node: LabNode, init: LabProcess, initPid: number) {
    // Its processes end with process 1, which is the lab's.
    super(node.name, node.netns, node, () => {})
    this.#init = init
    this.#initPid = initPid
  }

  static async boot(node: LabNode): Promise<LabMachine> {
    const init = node.spawn('unshare', [...UNSHARE, 'bash', '-c', INIT, 'init', node.name])
    await init.waitForLine(/^booted$/)
    const initPid = onlyChildOf(init.pid)
    if (initPid === undefined) throw new Error(`The machine ${node.name} has no process 1\n${init.output()}`)
    return new LabMachine(node, init, initPid)
  }

  /** Name of the cgroup, at the top of each hierarchy, that all containers of the machine belong below. */
  get cgroup(): string {
    return this.netns
  }

  /** Where a path of the machine is seen from outside; not through a link that is absolute. */
  pathOf(path: string): string {
    return join(`/proc/${this.#initPid}/root`, path)
  }

  override exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return execInNetns(this.netns, 'nsenter', this.#enter(command, args), options)
  }

  override spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): LabProcess {
    return new MachineProcess(this.netns, 'nsenter', this.#enter(command, args), options)
  }

  /** Ends all that runs in it; nothing of it is left then. */
  async halt(): Promise<void> {
    await this.#init.stop('SIGKILL')
    removeCgroups(this.cgroup)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.halt()
  }

  #enter(command: string, args: readonly string[]): string[] {
    const namespaces = ['--target', String(this.#initPid), '--mount', '--pid', '--uts', '--ipc']
    return [...namespaces, '--', 'env', '-C', '/', command, ...args]
  }
}

/** Of a process that has forked once and waits for the end of its child. */
function onlyChildOf(pid: number): number | undefined {
  try {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')
    return child === undefined || child === '' ? undefined : Number(child)
  } catch {
    return undefined
  }
}
