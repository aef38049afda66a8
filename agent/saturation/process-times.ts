/** What processes have used, from `/proc`. */
import { readFileSync } from 'node:fs'

/** User and system time (proc(5), fields 14 and 15 of `stat`, in ticks of 10 ms); undefined when there is no such process. */
export function processCpuSeconds(pid: number): number | undefined {
  if (pid <= 0) return undefined
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / 100
  } catch {
    return undefined
  }
}
