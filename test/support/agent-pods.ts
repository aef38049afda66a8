/** A node namespace with a bridge and pods on it, for tests of the agent alone; sockets by descriptor in each. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import net from 'node:net'
import {
  bindSocket,
  closeFd,
  connectSocket,
  listenSocket,
  openNetns,
  openTcpSocket,
  setReuseAddress,
  withNetns,
} from '#linux'

export interface TestPod {
  readonly name: string
  readonly path: string
  readonly fd: number
  readonly v4: string
  readonly v6: string
}

export interface TestNode extends Disposable {
  readonly pods: readonly TestPod[]
  /** The pod of that index; there must be one. */
  pod(index: number): TestPod
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Pods get 10.77.0.N and fd77::N, N from 2, with a default route to the bridge at .1. */
export function createTestNode(podCount: number): TestNode {
  const id = randomBytes(3).toString('hex')
  const made: string[] = []
  const pods: TestPod[] = []
  const dispose = () => {
    for (const pod of pods) closeFd(pod.fd)
    for (const name of made) ip('netns', 'del', name)
  }
  try {
    const node = `weirt-${id}-node`
    ip('netns', 'add', node)
    made.push(node)
    ip('-n', node, 'link', 'set', 'lo', 'up')
    ip('-n', node, 'link', 'add', 'br0', 'type', 'bridge')
    ip('-n', node, 'addr', 'add', '10.77.0.1/16', 'dev', 'br0')
    ip('-n', node, 'addr', 'add', 'fd77::1/64', 'dev', 'br0', 'nodad')
    ip('-n', node, 'link', 'set', 'br0', 'up')
    for (let i = 0; i < podCount; i++) {
      const name = `weirt-${id}-${i}`
      const host = i + 2
      const v4 = `10.77.${host >> 8}.${host & 255}`
      const v6 = `fd77::${host.toString(16)}`
      ip('netns', 'add', name)
      made.push(name)
      ip('-n', name, 'link', 'set', 'lo', 'up')
      ip('-n', node, 'link', 'add', `v${i}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
      ip('-n', node, 'link', 'set', `v${i}`, 'master', 'br0', 'up')
      ip('-n', name, 'addr', 'add', `${v4}/16`, 'dev', 'eth0')
      ip('-n', name, 'addr', 'add', `${v6}/64`, 'dev', 'eth0', 'nodad')
      ip('-n', name, 'link', 'set', 'eth0', 'up')
      ip('-n', name, 'route', 'add', 'default', 'via', '10.77.0.1')
      ip('-n', name, '-6', 'route', 'add', 'default', 'via', 'fd77::1')
      pods.push({ name, path: `/run/netns/${name}`, fd: openNetns(`/run/netns/${name}`), v4, v6 })
    }
  } catch (thrown) {
    dispose()
    throw thrown
  }
  const pod = (index: number) => {
    const found = pods[index]
    if (found === undefined) throw new Error(`The node has ${pods.length} pods, none of index ${index}`)
    return found
  }
  return { pods, pod, [Symbol.dispose]: dispose }
}

/** Output of a program run inside the pod. */
export function inPod(pod: TestPod, program: string, ...args: string[]): string {
  return withNetns(pod.fd, () => execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
}

/** All that un-enrolling must leave as it was; comments and counters aside. */
export function kernelState(pod: TestPod): string {
  const commands: [string, ...string[]][] = [
    ['iptables-save'],
    ['ip6tables-save'],
    ['ip', '-4', 'rule'],
    ['ip', '-6', 'rule'],
    ['sh', '-c', 'ip -4 route show table 100 2>/dev/null || true'],
    ['sh', '-c', 'ip -6 route show table 100 2>/dev/null || true'],
    ['sh', '-c', 'cd /proc/sys/net; cat ipv4/tcp_fwmark_accept ipv[46]/fwmark_reflect'],
  ]
  return commands
    .map(([program, ...args]) => `${program} ${args.join(' ')}\n${inPod(pod, program, ...args)}`)
    .join('')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.replace(/ \[\d+:\d+\]$/, ''))
    .join('\n')
}

/** A server whose listening socket is in the pod. */
export async function listenInPod(
  pod: TestPod,
  address: string,
  port: number,
  onConnection: (socket: net.Socket) => void,
): Promise<net.Server> {
  const fd = withNetns(pod.fd, () => {
    const socket = openTcpSocket(net.isIPv6(address) ? 6 : 4)
    setReuseAddress(socket)
    bindSocket(socket, { address, port })
    listenSocket(socket, 64)
    return socket
  })
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined)
    onConnection(socket)
  })
  await new Promise<void>((resolve) => server.listen({ fd }, resolve))
  return server
}

/** Connects from inside the pod; resolves when established. */
export async function connectFromPod(
  pod: TestPod,
  address: string,
  port: number,
  prepare: (fd: number) => void = () => undefined,
): Promise<net.Socket> {
  const fd = withNetns(pod.fd, () => openTcpSocket(net.isIPv6(address) ? 6 : 4))
  prepare(fd)
  return await connectFd(fd, address, port)
}

export function connectFd(fd: number, address: string, port: number): Promise<net.Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<net.Socket>()
  connectSocket(fd, { address, port })
  const socket = new net.Socket({ fd, allowHalfOpen: true, readable: true, writable: true })
  // An empty write ends when the socket is writable, which is when the connect has ended.
  socket.on('error', reject)
  socket.write('', () => resolve(socket))
  return promise
}

/** Everything the peer sends until it ends. */
export async function readAll(socket: net.Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}
