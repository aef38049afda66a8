/**
 * The fabric of a lab: a namespace that routes between its nodes, one veth `linkN` to each, and breaks on demand.
 * Faults are kept as data; every change renders all of them and replaces the fabric's tables in one transaction.
 */
import type { LabAddresses } from './lab-addresses.ts'
import { LabCapture } from './lab-capture.ts'
import { LabHost } from './lab-host.ts'
import { createFabric, joinFabric } from './lab-network.ts'
import { execInNetns, type LabProcess } from './lab-process.ts'

interface Fault {
  /** Numbers of the nodes, the lower one first. */
  readonly pair: readonly [number, number]
  readonly cut: boolean
  /** 0 to 1 */
  readonly lossProbability: number
  readonly delayMs: number
}

const portOf = (node: number): string => `link${node + 1}`

export class LabFabric extends LabHost {
  readonly #faults = new Map<string, Fault>()
  readonly #addresses: LabAddresses
  readonly #nodes: readonly string[]
  #applied: Promise<void> = Promise.resolve()
  #netem: Promise<boolean> | undefined
  #delayed = false

  /** @param nodes the nodes' namespaces. */
  constructor(netns: string, nodes: readonly string[], addresses: LabAddresses, own: (process: LabProcess) => void) {
    const { ipv4, ipv6 } = addresses.link(0).fabric
    super(
      'fabric',
      netns,
      { ipv4: withoutLength(ipv4), ipv6: ipv6 === undefined ? undefined : withoutLength(ipv6) },
      own,
    )
    this.#addresses = addresses
    this.#nodes = nodes
    createFabric(netns)
    for (const [node, nodeNetns] of nodes.entries()) {
      joinFabric(netns, nodeNetns, {
        port: portOf(node),
        link: addresses.link(node),
        nodeAddress: addresses.host(node, 1),
        podNetwork: addresses.podNetwork(node),
        allNetworks: addresses.allNetworks(),
      })
    }
  }

  /** Resolves when every link carries packets: the kernel takes a moment to believe that a veth is up. */
  async ready(): Promise<void> {
    const deadline = AbortSignal.timeout(30_000)
    for (const netns of [this.netns, ...this.#nodes]) {
      for (;;) {
        const { stdout } = await execInNetns(netns, 'ip', ['-o', 'addr', 'show', 'type', 'veth'], {})
        const links = await execInNetns(netns, 'ip', ['-o', 'link', 'show', 'type', 'veth'], {})
        const count = netns === this.netns ? this.#nodes.length : 1
        const up = links.stdout.match(/ state UP /g)?.length === count
        // A link-local address is the last thing an interface gets.
        if (up && (this.ipv6 === undefined || stdout.match(/ scope link /g)?.length === count)) break
        if (deadline.aborted) throw new Error(`The fabric's links are not up:\n${links.stdout}${stdout}`)
      }
    }
  }

  /** Lets no packet pass between two nodes, in either direction, without a word to the sender. */
  cut(a: number, b: number): Promise<void> {
    return this.#change(a, b, { cut: true })
  }

  /** @param percentage 0 to 100, of the packets in each direction; 0 ends it. */
  dropPackets(a: number, b: number, percentage: number): Promise<void> {
    if (!(percentage >= 0 && percentage <= 100)) throw new Error(`Packet loss is 0 to 100 percent, not ${percentage}`)
    return this.#change(a, b, { lossProbability: percentage / 100 })
  }

  /** Delays each packet in each direction by `ms`; 0 ends it. @returns false where the kernel has no netem. */
  async delay(a: number, b: number, ms: number): Promise<boolean> {
    if (!(await this.hasNetem())) return false
    await this.#change(a, b, { delayMs: ms })
    return true
  }

  /** Ends every fault between two nodes. */
  heal(a: number, b: number): Promise<void> {
    return this.#change(a, b, { cut: false, lossProbability: 0, delayMs: 0 })
  }

  /** Begins to record what passes between a node and the fabric. */
  capture(node: number): Promise<LabCapture> {
    return LabCapture.start(this, portOf(node), withoutLength(this.#addresses.link(node).node.ipv4))
  }

  hasNetem(): Promise<boolean> {
    const probe = async () => {
      const { code } = await this.exec('tc', ['qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms'])
      if (code === 0) await this.#must('tc', ['qdisc', 'del', 'dev', 'lo', 'root'])
      return code === 0
    }
    this.#netem ??= probe()
    return this.#netem
  }

  /** Changes follow one another, so that the last one told is the one that stays. */
  #change(a: number, b: number, change: Partial<Omit<Fault, 'pair'>>): Promise<void> {
    if (a === b) throw new Error('A fault of the fabric lies between two nodes, not between one and itself')
    const pair = [Math.min(a, b), Math.max(a, b)] as const
    const before = this.#faults.get(pair.join()) ?? { pair, cut: false, lossProbability: 0, delayMs: 0 }
    this.#faults.set(pair.join(), { ...before, ...change })
    const faults = [...this.#faults.values()]
    const shaped = before.delayMs > 0 || (change.delayMs ?? 0) > 0
    this.#delayed ||= shaped
    const tables = renderFaults(faults, this.#delayed)
    this.#applied = this.#applied
      .catch(() => {})
      .then(async () => {
        await Promise.all(['iptables-restore', 'ip6tables-restore'].map((command) => this.#must(command, [], tables)))
        if (shaped) for (const node of pair) await this.#shape(node, faults)
      })
    return this.#applied
  }

  /** Queues, towards a node, what is classified as coming over a delayed pair. */
  async #shape(node: number, faults: readonly Fault[]): Promise<void> {
    await this.exec('tc', ['qdisc', 'del', 'dev', portOf(node), 'root'])
    const commands = renderDelays(node, faults)
    if (commands.length > 0) await this.#must('tc', ['-batch', '-'], commands.join('\n'))
  }

  async #must(command: string, args: readonly string[], input = ''): Promise<void> {
    const { code, stderr } = await this.exec(command, args, { input })
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed in the fabric: ${stderr}${input}`)
  }
}

function withoutLength(address: string): string {
  return address.replace(/\/.*/, '')
}

/** Both directions of a pair, as [from, to]. */
function directions({ pair: [a, b] }: Fault): readonly (readonly [number, number])[] {
  return [
    [a, b],
    [b, a],
  ]
}

/** Input of iptables-restore and ip6tables-restore; without `delays` the mangle table, which some kernels lack, is left alone. */
function renderFaults(faults: readonly Fault[], delays: boolean): string {
  const rules = (rule: (fault: Fault) => string | undefined) =>
    faults.flatMap((fault) => {
      const text = rule(fault)
      if (text === undefined) return []
      return directions(fault).map(([from, to]) => `-A FORWARD -i ${portOf(from)} -o ${portOf(to)} ${text}`)
    })
  const dropped = rules(({ cut, lossProbability }) => {
    if (cut) return '-j DROP'
    const random = `-m statistic --mode random --probability ${lossProbability.toFixed(6)}`
    return lossProbability > 0 ? `${random} -j DROP` : undefined
  })
  const delayed = faults
    .filter(({ delayMs }) => delayMs > 0)
    .flatMap(directions)
    .map(([from, to]) => `-A FORWARD -i ${portOf(from)} -o ${portOf(to)} -j CLASSIFY --set-class ${classOf(from)}`)
  const filter = ['*filter', ':FORWARD ACCEPT [0:0]', ...dropped, 'COMMIT']
  const mangle = delays ? ['*mangle', ':FORWARD ACCEPT [0:0]', ...delayed, 'COMMIT'] : []
  return `${[...filter, ...mangle].join('\n')}\n`
}

/** Class, on every port, of what comes from a node. */
function classOf(from: number): string {
  return `1:${(0x10 + from).toString(16)}`
}

/** Commands of `tc -batch` for the port towards a node; none without a delay. Unclassified packets go directly. */
function renderDelays(node: number, faults: readonly Fault[]): readonly string[] {
  const delayed = faults.filter(({ pair, delayMs }) => delayMs > 0 && pair.includes(node))
  if (delayed.length === 0) return []
  const port = portOf(node)
  return [
    `qdisc add dev ${port} root handle 1: htb default 0`,
    ...delayed.flatMap(({ pair: [a, b], delayMs }) => {
      const from = a === node ? b : a
      return [
        `class add dev ${port} parent 1: classid ${classOf(from)} htb rate 100gbit burst 1m cburst 1m quantum 200000`,
        `qdisc add dev ${port} parent ${classOf(from)} netem delay ${delayMs}ms limit 100000`,
      ]
    }),
  ]
}
