/** Sockets that live in a pod's network namespace and are used from this process. */
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

/** Runs `open` in the namespace: a socket belongs to the one it was opened in. */
export function inside<T>(netnsPath: string, open: () => T): T {
  const netns = openNetns(netnsPath)
  try {
    return withNetns(netns, open)
  } finally {
    closeFd(netns)
  }
}

/** A descriptor that listens on both families; connections beyond `backlog` wait for it to be served. */
export function listenSocketIn(netnsPath: string, port: number, backlog = 256): number {
  return inside(netnsPath, () => {
    const socket = openTcpSocket(6)
    setReuseAddress(socket)
    bindSocket(socket, { address: '::', port })
    listenSocket(socket, backlog)
    return socket
  })
}

/** Connects from inside the namespace; resolves when established, rejects when refused. */
export async function connectSocketIn(netnsPath: string, address: string, port: number): Promise<net.Socket> {
  const fd = inside(netnsPath, () => openTcpSocket(net.isIPv6(address) ? 6 : 4))
  connectSocket(fd, { address, port })
  const socket = new net.Socket({ fd, allowHalfOpen: true, readable: true, writable: true })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  socket.once('error', reject)
  // An empty write ends when the socket is writable, which is when the connect has ended.
  socket.write('', () => resolve())
  await promise
  socket.off('error', reject)
  return socket
}
