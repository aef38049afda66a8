/** The listening sockets of a pod, opened inside its network namespace and held by the agent for the pod's life. */
import { WeirError } from '#base'
import { DNS_PORT, HBONE_PORT, INBOUND_PORT, type ListenerSpec, OUTBOUND_PORT } from '#contract'
import {
  bindSocket,
  closeFd,
  isListening,
  isReceiving,
  LinuxError,
  listenSocket,
  openTcpSocket,
  openUdpSocket,
  setIpv6Only,
  setReuseAddress,
  withNetns,
} from '#linux'

export interface HeldListener {
  readonly spec: ListenerSpec
  readonly fd: number
}

/** Connections that wait here while a proxy is being replaced; the kernel caps it at net.core.somaxconn. */
const BACKLOG = 4096

const LISTENERS: readonly Omit<ListenerSpec, 'family'>[] = [
  { direction: 'outbound', port: OUTBOUND_PORT },
  { direction: 'inbound', port: INBOUND_PORT },
  { direction: 'tunnel', port: HBONE_PORT },
  { direction: 'dns-udp', port: DNS_PORT },
  { direction: 'dns-tcp', port: DNS_PORT },
]

/**
 * Outbound and DNS on loopback only: nobody outside the pod can speak to them. Inbound and tunnels on all addresses.
 * @param handed of this namespace, from the agent before; those that still listen are not opened anew, the others closed
 * @throws WeirError WEIR_AGENT_PORT_IN_USE, naming the port, with none left open
 */
export function openListeners(
  netnsFd: number,
  families: readonly (4 | 6)[],
  handed: readonly HeldListener[] = [],
): readonly HeldListener[] {
  const held: HeldListener[] = []
  const specs = families.flatMap((family) => LISTENERS.map((listener) => ({ ...listener, family })))
  const kept = handed.filter((listener) => specs.some((spec) => isSameSpec(spec, listener.spec)) && isServing(listener))
  closeListeners(handed.filter((listener) => !kept.includes(listener)))
  try {
    withNetns(netnsFd, () => {
      for (const spec of specs)
        held.push(kept.find((listener) => isSameSpec(spec, listener.spec)) ?? openListener(spec))
    })
    return held
  } catch (thrown) {
    closeListeners([...new Set([...held, ...kept])])
    throw thrown
  }
}

function isSameSpec(a: ListenerSpec, b: ListenerSpec): boolean {
  return a.direction === b.direction && a.family === b.family && a.port === b.port
}

/** Opens those again that have stopped listening; the others are the same values as before. Closes none. */
export function reopenListeners(netnsFd: number, listeners: readonly HeldListener[]): readonly HeldListener[] {
  return withNetns(netnsFd, () =>
    listeners.map((listener) => (isServing(listener) ? listener : openListener(listener.spec))),
  )
}

/** True while connections, or datagrams, can arrive there. */
export function isServing({ spec, fd }: HeldListener): boolean {
  return spec.direction === 'dns-udp' ? isReceiving(fd) : isListening(fd)
}

export function closeListeners(listeners: readonly HeldListener[]): void {
  for (const { fd } of listeners) closeFd(fd)
}

function openListener(spec: ListenerSpec): HeldListener {
  const loopback = spec.family === 4 ? '127.0.0.1' : '::1'
  const anywhere = spec.family === 4 ? '0.0.0.0' : '::'
  const address = spec.direction === 'inbound' || spec.direction === 'tunnel' ? anywhere : loopback
  const datagrams = spec.direction === 'dns-udp'
  const fd = datagrams ? openUdpSocket(spec.family) : openTcpSocket(spec.family)
  try {
    // For UDP too: one that was shut down keeps its port until the proxies have its successor.
    setReuseAddress(fd)
    if (spec.family === 6) setIpv6Only(fd)
    bindSocket(fd, { address, port: spec.port })
    if (!datagrams) listenSocket(fd, BACKLOG)
    return { spec, fd }
  } catch (cause) {
    closeFd(fd)
    if (cause instanceof LinuxError && cause.errnoName === 'EADDRINUSE') {
      throw new WeirError(
        'WEIR_AGENT_PORT_IN_USE',
        `Port ${spec.port} (IPv${spec.family}) is in use inside the pod; the ${spec.direction} listener of the mesh needs it: stop what listens there (ss -ltunp); if another Weir agent serves this node, stop it.`,
        { cause },
      )
    }
    throw cause
  }
}
