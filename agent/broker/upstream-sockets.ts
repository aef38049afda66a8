/**
 * Upstream sockets made on a proxy's behalf: what needs a privilege is done here, connecting is the proxy's.
 *
 * UDP sockets are bound above the ports that the kernel deals out. Connection tracking knows a query of the pod by
 * its port for minutes after it was answered; a query of ours from the same port to the same server would count as
 * more of it and be redirected to ourselves, and the other way round. Istio gives ours a tracking zone of their own,
 * for which every packet of the pod has to pass the raw table; ports that never meet need no rule.
 */
import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { CONNECTION_MARK, PACKET_MARK, type ProxyToAgent, type SocketKind } from '#contract'
import {
  bindSocket,
  closeFd,
  LinuxError,
  MAX_FDS_PER_PACKET,
  openTcpSocket,
  openUdpSocket,
  setIpv6Only,
  setMark,
  setTransparent,
  withNetns,
} from '#linux'

export interface SocketsRequest {
  readonly kind: SocketKind
  readonly family: 4 | 6
  readonly count: number
}

const KINDS: ReadonlySet<unknown> = new Set<SocketKind>(['plain', 'transparent', 'datagram'])

/** What is wrong with a request; a proxy parses hostile input, so it is not believed. */
export function refuseSocketsRequest(request: Extract<ProxyToAgent, { type: 'sockets-wanted' }>): string | undefined {
  if (!KINDS.has(request.kind)) return 'unknown kind of socket'
  if (request.family !== 4 && request.family !== 6) return 'unknown address family'
  if (!Number.isInteger(request.count) || request.count < 1 || request.count > MAX_FDS_PER_PACKET) {
    return `count must be 1 to ${MAX_FDS_PER_PACKET}`
  }
  return undefined
}

/** Unconnected, non-blocking, marked; the caller closes them. @throws LinuxError with none left open */
export function openUpstreamSockets(netnsFd: number, { kind, family, count }: SocketsRequest): number[] {
  const fds: number[] = []
  try {
    withNetns(netnsFd, () => {
      for (let i = 0; i < count; i++) {
        const fd = kind === 'datagram' ? openUdpSocket(family) : openTcpSocket(family)
        fds.push(fd)
        setMark(fd, kind === 'transparent' ? CONNECTION_MARK : PACKET_MARK)
        if (kind === 'transparent') setTransparent(fd, family)
        if (kind === 'datagram') bindApart(fd, family)
      }
    })
    return fds
  } catch (thrown) {
    for (const fd of fds) closeFd(fd)
    throw thrown
  }
}

const BIND_TRIES = 16
const HIGHEST_PORT = 65535
/** Fewer ports than this above the dealt ones are too few to be unguessable: then any port is taken. */
const LEAST_PORTS = 1024

/** To a random free port above the pod's ip_local_port_range. The calling thread is in its namespace. */
function bindApart(fd: number, family: 4 | 6): void {
  if (family === 6) setIpv6Only(fd)
  const address = family === 4 ? '0.0.0.0' : '::'
  const [, lastDealt = '0'] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1').trim().split(/\s+/)
  const first = Number(lastDealt) + 1
  if (HIGHEST_PORT - first < LEAST_PORTS) {
    bindSocket(fd, { address, port: 0 })
    return
  }
  for (let tried = 1; ; tried++) {
    try {
      bindSocket(fd, { address, port: randomInt(first, HIGHEST_PORT + 1) })
      return
    } catch (thrown) {
      const taken = thrown instanceof LinuxError && thrown.errnoName === 'EADDRINUSE'
      if (!taken || tried === BIND_TRIES) throw thrown
    }
  }
}
