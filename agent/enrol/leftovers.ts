/** What an agent that is gone has left in a pod's network namespace. */
import { closeFd, netnsIdentity, openNetns } from '#linux'
import { removeTraces } from '../iptables/pod-rules.ts'
import type { PodRecord } from './pod-records.ts'

/** Removes rules and routes of a pod on record. `gone`: the namespace is, or another has its path, and they with it. */
export async function clearLeftover(record: PodRecord, lockDir: string): Promise<'removed' | 'gone'> {
  let netnsFd: number
  try {
    netnsFd = openNetns(record.path)
  } catch {
    return 'gone'
  }
  try {
    if (netnsIdentity(netnsFd) !== record.identity) return 'gone'
    await removeTraces({ netnsFd, lockDir }, record.before)
    return 'removed'
  } finally {
    closeFd(netnsFd)
  }
}
