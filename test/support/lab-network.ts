/**
 * The network of a lab: namespaces, bridges, veth pairs and routes, all inside namespaces that the lab made.
 * Works synchronously, so that the same code can also clean up from a process's exit hook.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import type { AddressPair } from './lab-addresses.ts'

const NETNS_DIR = '/run/netns'

export function netnsPath(netns: string): string {
  return `${NETNS_DIR}/${netns}`
}

/**
 * Command and arguments that run `command` inside a namespace; unlike `ip netns exec` it leaves /sys alone.
 * tap makes every process that a test starts load tap's own hooks, by NODE_OPTIONS; here nothing shall run but
 * what would run without tap.
 */
export function inNetns(
  netns: string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): [string, string[]] {
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const clean = ['env', '-u', 'NODE_OPTIONS', ...settings, command, ...args]
  return ['nsenter', [`--net=${netnsPath(netns)}`, '--', ...clean]]
}

function run(command: string, args: readonly string[], input = ''): void {
  const result = spawnSync(command, [...args], { input, encoding: 'utf8' })
  if (result.error) throw new Error(`${command} does not run: ${result.error.message}: run scripts/setup`)
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${result.stderr.trim()}\n${input}`)
}

/** Runs `ip` commands, one per line, in a namespace (or, for `ip netns`, outside any). */
function ip(netns: string | undefined, lines: readonly string[]): void {
  run('ip', [...(netns === undefined ? [] : ['-n', netns]), '-batch', '-'], `${lines.join('\n')}\n`)
}

function sysctl(netns: string, settings: readonly string[]): void {
  run(...inNetns(netns, 'sysctl', ['-qw', ...settings]))
}

// Duplicate address detection would keep IPv6 addresses unusable for a second.
const NO_DAD = ['net.ipv6.conf.all.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0']

/** A node: a namespace with the bridge `br0`, which has the node's addresses, and forwarding. */
export function createNode(netns: string, addresses: AddressPair): void {
  ip(undefined, [`netns add ${netns}`])
  sysctl(netns, [...NO_DAD, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
  ip(netns, [
    'link set lo up',
    // An address of its own: else it takes the lowest of its ports', and pods that know the old one lose the node.
    'link add br0 address 02:00:00:00:00:01 type bridge forward_delay 0 mcast_snooping 0',
    `addr add ${addresses.ipv4}/24 dev br0`,
    ...(addresses.ipv6 === undefined ? [] : [`addr add ${addresses.ipv6}/64 dev br0 nodad`]),
    'link set br0 up',
  ])
}

/** A pod: a namespace with `eth0`, whose other end hangs on the node's bridge. */
export function createPod(node: string, netns: string, port: string, own: AddressPair, gateway: AddressPair): void {
  ip(undefined, [`netns add ${netns}`])
  sysctl(netns, NO_DAD)
  ip(node, [`link add ${port} type veth peer name eth0 netns ${netns}`, `link set ${port} master br0 up`])
  ip(netns, [
    'link set lo up',
    `addr add ${own.ipv4}/24 dev eth0`,
    ...(own.ipv6 === undefined ? [] : [`addr add ${own.ipv6}/64 dev eth0 nodad`]),
    'link set eth0 up',
    `route add default via ${gateway.ipv4}`,
    ...(gateway.ipv6 === undefined ? [] : [`route add default via ${gateway.ipv6}`]),
  ])
}

/** A router between nodes, as yet without a link to any. */
export function createFabric(netns: string): void {
  ip(undefined, [`netns add ${netns}`])
  sysctl(netns, [...NO_DAD, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
  ip(netns, ['link set lo up'])
}

export interface FabricLink {
  /** Name of the interface in the fabric; in the node it is `eth0`. */
  readonly port: string
  readonly link: { readonly fabric: AddressPair; readonly node: AddressPair }
  readonly nodeAddress: AddressPair
  readonly podNetwork: AddressPair
  readonly allNetworks: AddressPair
}

/** Links a node to the fabric, with routes to its pods there and to everything in the node, from its own address. */
export function joinFabric(fabric: string, node: string, { port, link, ...wanted }: FabricLink): void {
  const bare = (address: string) => address.replace(/\/.*/, '')
  const { fabric: near, node: far } = link
  const { nodeAddress, podNetwork, allNetworks } = wanted
  ip(fabric, [
    `link add ${port} type veth peer name eth0 netns ${node}`,
    `addr add ${near.ipv4} dev ${port}`,
    ...(near.ipv6 === undefined ? [] : [`addr add ${near.ipv6} dev ${port} nodad`]),
    `link set ${port} up`,
  ])
  ip(node, [
    `addr add ${far.ipv4} dev eth0`,
    ...(far.ipv6 === undefined ? [] : [`addr add ${far.ipv6} dev eth0 nodad`]),
    'link set eth0 up',
    `route add ${allNetworks.ipv4} via ${bare(near.ipv4)} src ${nodeAddress.ipv4}`,
    ...(near.ipv6 === undefined
      ? []
      : [`route add ${allNetworks.ipv6} via ${bare(near.ipv6)} src ${nodeAddress.ipv6}`]),
  ])
  ip(fabric, [
    `route add ${podNetwork.ipv4} via ${bare(far.ipv4)}`,
    ...(far.ipv6 === undefined ? [] : [`route add ${podNetwork.ipv6} via ${bare(far.ipv6)}`]),
  ])
}

/** Namespaces whose name begins with `prefix`. */
export function listNetns(prefix: string): string[] {
  return existsSync(NETNS_DIR) ? readdirSync(NETNS_DIR).filter((name) => name.startsWith(prefix)) : []
}

/**
 * Kills every process that lives in a namespace, then removes it. Never fails: what is gone is gone. An agent that only
 * looks in (one of its threads is there for a moment) goes on living.
 */
export function removeNetns(netns: string): void {
  const { stdout } = spawnSync('ip', ['netns', 'pids', netns], { encoding: 'utf8' })
  for (const pid of (stdout ?? '').split(/\s+/).filter(Boolean)) {
    try {
      if (livesIn(netns, pid)) process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It ended by itself meanwhile.
    }
  }
  spawnSync('ip', ['netns', 'del', netns])
}

function livesIn(netns: string, pid: string): boolean {
  const namespace = `net:[${statSync(netnsPath(netns)).ino}]`
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).every((thread) => readlinkSync(`${tasks}/${thread}/ns/net`) === namespace)
}
