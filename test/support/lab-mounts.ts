/**
 * What one process sees of the machine made different: a file or directory bound over another one in the process's own
 * mount namespace. Nothing is to be undone: it goes with the process.
 */
import { execFileSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'

/** @param pid of a process that was started with mounts of its own; any other one is refused */
export function bindFor(pid: number, source: string, target: string): void {
  const mountsOf = (who: string) => readlinkSync(`/proc/${who}/ns/mnt`)
  if (pid <= 1 || mountsOf(String(pid)) === mountsOf('self')) {
    throw new Error(`Process ${pid} has no mounts of its own: ${target} would change for the whole machine`)
  }
  const enter = [`--mount=/proc/${pid}/ns/mnt`, '--', 'env', '-u', 'NODE_OPTIONS']
  execFileSync('nsenter', [...enter, 'mount', '--bind', source, target])
}
