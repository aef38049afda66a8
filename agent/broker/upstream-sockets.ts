/** Upstream sockets made on a proxy's behalf: what needs a privilege is done here, connecting is the proxy's. */
import { CONNECTION_MARK, PACKET_MARK, type ProxyToAgent, type SocketKind } from '#contract'
import { closeFd, MAX_FDS_PER_PACKET, openTcpSocket, setMark, setTransparent, withNetns } from '#linux'

export interface SocketsRequest {
  readonly kind: SocketKind
  readonly family: 4 | 6
  readonly count: number
}

/** What is wrong with a request; a proxy parses hostile input, so it is not believed. */
export function refuseSocketsRequest(request: Extract<ProxyToAgent, { type: 'sockets-wanted' }>): string | undefined {
  if (request.kind !== 'plain' && request.kind !== 'transparent') return 'unknown kind of socket'
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
        const fd = openTcpSocket(family)
        fds.push(fd)
        setMark(fd, kind === 'transparent' ? CONNECTION_MARK : PACKET_MARK)
        if (kind === 'transparent') setTransparent(fd, family)
      }
    })
    return fds
  } catch (thrown) {
    for (const fd of fds) closeFd(fd)
    throw thrown
  }
}
