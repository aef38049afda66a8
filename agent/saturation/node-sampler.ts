/**
 * How full the node is, for whoever scrapes: read at most once in SAMPLE_MS however often it is asked for, and never while
 * nobody asks. Only the first answer is waited for; later ones are those of the last reading.
 */
import { readFile } from 'node:fs/promises'
import { availableParallelism, loadavg, networkInterfaces } from 'node:os'
import type { MetricFamily, MetricSeries } from '#contract'
import { PodSegments, readPodSegments } from './pod-segments.ts'
import { readDiskBusySeconds, readPressureSeconds } from './proc-facts.ts'

export interface NodeSampler {
  /** Never rejects: what cannot be read is left out. */
  families(): Promise<readonly MetricFamily[]>
}

export interface NodeSamplerOptions {
  /** Monotonic ms. */
  now(): number
  /** Network namespaces of the enrolled pods. */
  podNamespaces(): readonly { readonly pod: string; readonly netnsFd: number }[]
}

const SAMPLE_MS = 10_000
/** Of disks, file systems, interfaces: more than that are left out. */
const MAX_DEVICES = 16
const FIRST_WAIT_MS = 3_000

type Labels = Readonly<Record<string, string>>

export function createNodeSampler({ now, podNamespaces }: NodeSamplerOptions): NodeSampler {
  let last: readonly MetricFamily[] | undefined
  let lastAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined
  const segments = new PodSegments()
  const read = async (): Promise<void> => {
    const startedAt = now()
    const counted = segments.add(readPodSegments(podNamespaces()))
    const found = await gather()
    const tookMs = now() - startedAt
    last = [
      ...found,
      family('weir_node_tcp_sent_segments_total', 'counter', 'TCP segments that enrolled pods sent.', counted.sent),
      family(
        'weir_node_tcp_retransmitted_segments_total',
        'counter',
        'TCP segments that enrolled pods had to send again.',
        counted.retransmitted,
      ),
      family('weir_node_sample_milliseconds', 'gauge', 'How long reading these took.', [[{}, tookMs]]),
    ]
    lastAt = now()
  }
  return {
    families: async () => {
      if (reading === undefined && now() - lastAt >= SAMPLE_MS) {
        reading = read().finally(() => {
          reading = undefined
        })
        reading.catch(() => undefined)
      }
      if (last === undefined && reading !== undefined) {
        const { promise: late, resolve } = Promise.withResolvers<void>()
        const timer = setTimeout(resolve, FIRST_WAIT_MS)
        await Promise.race([reading.catch(() => undefined), late])
        clearTimeout(timer)
      }
      return last ?? []
    },
  }
}

async function gather(): Promise<MetricFamily[]> {
  // Loaded by the first who asks: it costs some MiB.
  const { default: si } = await import('systeminformation')
  const interfaces = Object.keys(networkInterfaces()).filter((name) => name !== 'lo')
  const [cpu, memory, files, network, disks, ...pressure] = await Promise.all([
    known(si.currentLoad()),
    known(si.mem()),
    known(si.fsSize()),
    known(interfaces.length === 0 ? Promise.resolve([]) : si.networkStats(interfaces.slice(0, MAX_DEVICES).join())),
    known(readFile('/proc/diskstats', 'latin1').then(readDiskBusySeconds)),
    ...PRESSURES.map((name) => known(readFile(`/proc/pressure/${name}`, 'latin1').then(readPressureSeconds))),
  ])
  const mounts = (files ?? []).slice(0, MAX_DEVICES)
  const cards = (network ?? []).slice(0, MAX_DEVICES)
  const of = (value: number | undefined): Entries => (value === undefined ? [] : [[{}, value]])
  const busy = (disks ?? []).slice(0, MAX_DEVICES).map(([device, seconds]) => [{ device }, seconds] as const)
  const waited = PRESSURES.flatMap((resource, i) => {
    const seconds = pressure[i]
    return seconds === undefined ? [] : [[{ resource }, seconds] as const]
  })
  const loads = loadavg().map((value, i) => [{ minutes: String([1, 5, 15][i]) }, value] as const)
  const byMount = (value: (mount: (typeof mounts)[number]) => number): Entries =>
    mounts.map((mount) => [{ mount: mount.mount }, value(mount)])
  const byCard = (value: (card: (typeof cards)[number]) => number): Entries =>
    cards.map((card) => [{ interface: card.iface }, value(card)])
  return [
    family('weir_node_cpus', 'gauge', 'Processors of the node.', [[{}, availableParallelism()]]),
    family(
      'weir_node_cpu_busy_ratio',
      'gauge',
      'Share of the node’s processors in use since the sample before, 0 to 1.',
      of(cpu === undefined ? undefined : cpu.currentLoad / 100),
    ),
    family('weir_node_load_average', 'gauge', 'Tasks that run or wait, on average.', loads),
    family('weir_node_memory_total_bytes', 'gauge', 'Memory of the node.', of(memory?.total)),
    family(
      'weir_node_memory_available_bytes',
      'gauge',
      'Memory that can be had without swapping.',
      of(memory?.available),
    ),
    family(
      'weir_node_filesystem_size_bytes',
      'gauge',
      'Size of a file system that the agent sees.',
      byMount((m) => m.size),
    ),
    family(
      'weir_node_filesystem_available_bytes',
      'gauge',
      'What is free of a file system that the agent sees.',
      byMount((mount) => mount.available),
    ),
    family('weir_node_disk_busy_seconds_total', 'counter', 'Time in which a disk had something to do.', busy),
    family(
      'weir_node_network_receive_bytes_total',
      'counter',
      'Bytes received by an interface of the agent’s network namespace.',
      byCard((card) => card.rx_bytes),
    ),
    family(
      'weir_node_network_transmit_bytes_total',
      'counter',
      'Bytes sent by an interface of the agent’s network namespace.',
      byCard((card) => card.tx_bytes),
    ),
    family(
      'weir_node_pressure_seconds_total',
      'counter',
      'Time in which some task of the node waited for a resource (PSI).',
      waited,
    ),
  ]
}

const PRESSURES = ['cpu', 'memory', 'io'] as const

type Entries = readonly (readonly [Labels, number])[]

function family(name: string, type: 'counter' | 'gauge', help: string, entries: Entries): MetricFamily {
  const series = entries
    .filter(([, value]) => Number.isFinite(value))
    .map(([labels, value]): MetricSeries => ({ labels, values: [value] }))
  return { name, type, help, series }
}

/** Undefined where it cannot be had: a kernel without PSI, a container without the files. */
async function known<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch {
    return undefined
  }
}
