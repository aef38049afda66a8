/** A node whose processors, memory or disk are used up. */
import type { FindingSeverity } from '#contract'
import type { Detected } from '../detected.ts'
import { type LookHistory, RECENT_LOOKS } from '../look-history.ts'
import type { NodeLook } from '../node-look.ts'
import { mebibytes, percent } from '../words.ts'

/** A minute long: builds and starts take a node for shorter times, and hurt nobody. */
export const CPU_BUSY_SHARE = 0.95
export const STILL_CPU_BUSY_SHARE = 0.9
/** The kernel begins to drop caches that are in use, then to kill. */
export const MEMORY_LEFT_SHARE = 0.05
export const STILL_MEMORY_LEFT_SHARE = 0.07
const MEMORY_CRITICAL_SHARE = 0.02
/** What the agent remembers cannot be written soon; the kubelet evicts at about as much. */
export const DISK_LEFT_SHARE = 0.05
export const STILL_DISK_LEFT_SHARE = 0.07
const DISK_CRITICAL_SHARE = 0.01

export function detectNode(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  return [...processors(history, last), ...memory(history, last), ...disk(history, last)]
}

function processors(history: LookHistory, last: NodeLook): readonly Detected[] {
  const { recent } = history
  const shares = recent.flatMap(({ node }) => (node.cpuBusy === undefined ? [] : [node.cpuBusy]))
  if (shares.length < RECENT_LOOKS) return []
  const busy = shares.reduce((sum, share) => sum + share, 0) / shares.length
  const isTold = history.told('node-saturated', 'processors') !== undefined
  if (busy < (isTold ? STILL_CPU_BUSY_SHARE : CPU_BUSY_SHARE)) return []
  const says = `The processors of this node are used up: ${percent(busy, 1)} busy over the last looks`
  return [finding(history, last, { subject: 'processors', severity: 'warning', says, evidence: [] })]
}

function memory(history: LookHistory, last: NodeLook): readonly Detected[] {
  const { memoryTotalBytes: total, memoryAvailableBytes: left } = last.node
  const isTold = history.told('node-saturated', 'memory') !== undefined
  if (total === 0 || left / total >= (isTold ? STILL_MEMORY_LEFT_SHARE : MEMORY_LEFT_SHARE)) return []
  return [
    finding(history, last, {
      subject: 'memory',
      severity: left / total < MEMORY_CRITICAL_SHARE ? 'critical' : 'warning',
      says: `The memory of this node is used up: ${mebibytes(left)} of ${mebibytes(total)} can be had`,
      evidence: ['When nothing is left the kernel kills what it thinks fit'],
    }),
  ]
}

function disk(history: LookHistory, last: NodeLook): readonly Detected[] {
  const { diskTotalBytes: total, diskAvailableBytes: left } = last.node
  const isTold = history.told('node-saturated', 'disk') !== undefined
  if (total === 0 || left / total >= (isTold ? STILL_DISK_LEFT_SHARE : DISK_LEFT_SHARE)) return []
  return [
    finding(history, last, {
      subject: 'disk',
      severity: left / total < DISK_CRITICAL_SHARE ? 'critical' : 'warning',
      says: `The file system with the agent's state is full: ${mebibytes(left)} of ${mebibytes(total)} are free`,
      evidence: ['An agent that cannot write there forgets what it did when it is started again'],
    }),
  ]
}

interface Told {
  readonly subject: string
  readonly severity: FindingSeverity
  readonly says: string
  readonly evidence: readonly string[]
}

function finding(history: LookHistory, last: NodeLook, told: Told): Detected {
  const sinceMs = history.told('node-saturated', told.subject)?.sinceMs ?? last.atMs
  return { kind: 'node-saturated', ...told, next: 'weir metrics', sinceMs, hurt: 0 }
}
