/**
 * The network of a lab: namespaces, a bridge and veth pairs, all inside namespaces that the lab made.
 * Works synchronously, so that the same code can also clean up from a process's exit hook.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'

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

export interface NodeAddresses {
  readonly ipv4: string
  readonly ipv6: string | undefined
}

/** A node: a namespace with the bridge `br0`, which has the node's addresses, and forwarding. */
export function createNode(netns: string, addresses: NodeAddresses): void {
  ip(undefined, [`netns add ${netns}`])
  sysctl(netns, [...NO_DAD, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
  ip(netns, [
    'link set lo up',
    'link add br0 type bridge forward_delay 0 mcast_snooping 0',
    `addr add ${addresses.ipv4}/24 dev br0`,
    ...(addresses.ipv6 === undefined ? [] : [`addr add ${addresses.ipv6}/64 dev br0 nodad`]),
    'link set br0 up',
  ])
}

/** A pod: a namespace with `eth0`, whose other end hangs on the node's bridge. */
export function createPod(node: string, netns: string, port: string, own: NodeAddresses, gateway: NodeAddresses): void {
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

/** Namespaces whose name begins with `prefix`. */
export function listNetns(prefix: string): string[] {
  return existsSync(NETNS_DIR) ? readdirSync(NETNS_DIR).filter((name) => name.startsWith(prefix)) : []
}

/** Kills every process inside a namespace, then removes it. Never fails: what is gone is gone. */
export function removeNetns(netns: string): void {
  const { stdout } = spawnSync('ip', ['netns', 'pids', netns], { encoding: 'utf8' })
  for (const pid of (stdout ?? '').split(/\s+/).filter(Boolean)) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It ended by itself meanwhile.
    }
  }
  spawnSync('ip', ['netns', 'del', netns])
}
