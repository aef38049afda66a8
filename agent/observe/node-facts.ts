/** How full the node is, from `/proc`, without what a scrape reads: some files, each look. */
import { readFileSync, statfsSync } from 'node:fs'
import type { NodeSample } from '#observer'
import { ownMemoryLimit } from './cgroup-memory.ts'

export class NodeFacts {
  readonly #stateDir: string
  #busy = 0
  #total = 0

  constructor(stateDir: string) {
    this.#stateDir = stateDir
  }

  sample(): NodeSample {
    const memory = readText('/proc/meminfo')
    const bytesOf = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(memory)?.[1] ?? 0) * 1024
    return {
      cpuBusy: this.#cpuBusy(),
      memoryTotalBytes: bytesOf('MemTotal'),
      memoryAvailableBytes: bytesOf('MemAvailable'),
      ...this.#disk(),
      agentRssBytes: process.memoryUsage.rss(),
      agentLimitBytes: ownMemoryLimit(),
    }
  }

  /** proc_stat(5): user nice system idle iowait irq softirq steal. */
  #cpuBusy(): number | undefined {
    const [, ...ticks] = readText('/proc/stat').split('\n', 1)[0]?.split(/ +/) ?? []
    const numbers = ticks.slice(0, 8).map(Number)
    const total = numbers.reduce((sum, value) => sum + value, 0)
    const busy = total - (numbers[3] ?? 0) - (numbers[4] ?? 0)
    const [grownBusy, grownTotal] = [busy - this.#busy, total - this.#total]
    const isFirst = this.#total === 0
    this.#busy = busy
    this.#total = total
    return isFirst || !(grownTotal > 0) ? undefined : grownBusy / grownTotal
  }

  #disk(): Pick<NodeSample, 'diskTotalBytes' | 'diskAvailableBytes'> {
    try {
      const { blocks, bavail, bsize } = statfsSync(this.#stateDir)
      return { diskTotalBytes: blocks * bsize, diskAvailableBytes: bavail * bsize }
    } catch {
      return { diskTotalBytes: 0, diskAvailableBytes: 0 }
    }
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
