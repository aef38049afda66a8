/** Sockets by file descriptor: what `node:net` has no words for (marks, transparency, family-only listeners). */
import { closeSync } from 'node:fs'
import { check, EINPROGRESS, EINTR, LinuxError, lastErrno, libc } from './libc.ts'
import { AF_INET, AF_INET6, encodeSocketAddress, type SocketAddress } from './socket-address.ts'

const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000

const SOL_IP = 0
const SOL_SOCKET = 1
const SOL_IPV6 = 41
const SO_REUSEADDR = 2
const SO_ERROR = 4
const SO_ACCEPTCONN = 30
const SO_MARK = 36
const IP_FREEBIND = 15
const IP_TRANSPARENT = 19
const IP_BIND_ADDRESS_NO_PORT = 24
const IPV6_V6ONLY = 26
const IPV6_TRANSPARENT = 75
const IPV6_FREEBIND = 78

const socketCall = libc('int socket(int, int, int)')
const bindCall = libc('int bind(int, void *, uint32_t)')
const connectCall = libc('int connect(int, void *, uint32_t)')
const listenCall = libc('int listen(int, int)')
const setsockoptCall = libc('int setsockopt(int, int, int, void *, uint32_t)')
const getsockoptCall = libc('int getsockopt(int, int, int, void *, void *)')

const F_DUPFD_CLOEXEC = 1030
const IPPROTO_TCP = 6
const TCP_CORK = 3
const SHUT_WR = 1
const SHUT_RDWR = 2
const shutdownCall = libc('int shutdown(int, int)')
const fcntlCall = libc('int fcntl(int, int, long)')

const POLLERR = 0x8
const POLLHUP = 0x10
const POLLNVAL = 0x20
const POLLRDHUP = 0x2000
const ENOTCONN = 107
const getpeernameCall = libc('int getpeername(int, void *, void *)')
const peerAddress = new Uint8Array(28)
const pollCall = libc('int poll(void *, unsigned long, int)')
/** One `struct pollfd`: the descriptor, then what is asked and what is found, 16 bits each (little-endian). */
const pollRequest = new Int32Array(2)

const optionValue = new Int32Array(1)
const optionLength = new Uint32Array(1)

/** A new TCP socket: non-blocking, close-on-exec. */
export function openTcpSocket(family: 4 | 6): number {
  const domain = family === 4 ? AF_INET : AF_INET6
  return check('socket', socketCall(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
}

/** A new UDP socket: non-blocking, close-on-exec. */
export function openUdpSocket(family: 4 | 6): number {
  const domain = family === 4 ? AF_INET : AF_INET6
  return check('socket', socketCall(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
}

function setOption(fd: number, level: number, name: number, value: number, label: string): void {
  optionValue[0] = value
  check(`setsockopt(${label})`, setsockoptCall(fd, level, name, optionValue, 4))
}

function getOption(fd: number, level: number, name: number, label: string): number {
  optionLength[0] = 4
  check(`getsockopt(${label})`, getsockoptCall(fd, level, name, optionValue, optionLength))
  return optionValue[0] ?? 0
}

/** Needs CAP_NET_ADMIN in the user namespace that owns the netns. */
export function setMark(fd: number, mark: number): void {
  setOption(fd, SOL_SOCKET, SO_MARK, mark, 'SO_MARK')
}

export function setReuseAddress(fd: number): void {
  setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'SO_REUSEADDR')
}

export function setIpv6Only(fd: number): void {
  setOption(fd, SOL_IPV6, IPV6_V6ONLY, 1, 'IPV6_V6ONLY')
}

/** Lets whoever holds the socket bind it to an address that is not local; needs CAP_NET_ADMIN now, not then. */
export function setTransparent(fd: number, family: 4 | 6): void {
  if (family === 4) {
    setOption(fd, SOL_IP, IP_TRANSPARENT, 1, 'IP_TRANSPARENT')
    setOption(fd, SOL_IP, IP_FREEBIND, 1, 'IP_FREEBIND')
  } else {
    setOption(fd, SOL_IPV6, IPV6_TRANSPARENT, 1, 'IPV6_TRANSPARENT')
    setOption(fd, SOL_IPV6, IPV6_FREEBIND, 1, 'IPV6_FREEBIND')
  }
  setOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, 'IP_BIND_ADDRESS_NO_PORT')
}

/** True while the socket listens (SO_ACCEPTCONN); false too when the descriptor is no socket any more. */
export function isListening(fd: number): boolean {
  try {
    return getOption(fd, SOL_SOCKET, SO_ACCEPTCONN, 'SO_ACCEPTCONN') === 1
  } catch (thrown) {
    if (thrown instanceof LinuxError) return false
    throw thrown
  }
}

/** True while anybody's datagrams can be read from the socket: who holds it has neither shut it down nor connected it. */
export function isReceiving(fd: number): boolean {
  return (poll(fd, POLLRDHUP) & (POLLRDHUP | POLLHUP | POLLNVAL)) === 0 && !isConnected(fd)
}

/** What is so of a descriptor now; a signal, as of a child that ends, is no answer. */
function poll(fd: number, events: number): number {
  pollRequest[0] = fd
  pollRequest[1] = events
  while (pollCall(pollRequest, 1, 0) < 0) if (lastErrno() !== EINTR) check('poll', -1)
  // The upper half of the second word is what poll found.
  return (pollRequest[1] ?? 0) >>> 16
}

/** True once the connection was reset or has failed; its end in order does not count (poll(2), POLLERR and POLLHUP). */
export function isBroken(fd: number): boolean {
  return (poll(fd, 0) & (POLLERR | POLLNVAL)) !== 0
}

function isConnected(fd: number): boolean {
  optionLength[0] = peerAddress.length
  return getpeernameCall(fd, peerAddress, optionLength) === 0
}

/** The mark of a socket (SO_MARK). */
export function getMark(fd: number): number {
  return getOption(fd, SOL_SOCKET, SO_MARK, 'SO_MARK')
}

/** Error of a finished non-blocking connect: undefined when it succeeded. Reading clears it. */
export function takeSocketError(fd: number): LinuxError | undefined {
  const errno = getOption(fd, SOL_SOCKET, SO_ERROR, 'SO_ERROR')
  return errno === 0 ? undefined : new LinuxError('connect', errno)
}

export function bindSocket(fd: number, address: SocketAddress): void {
  const encoded = encodeSocketAddress(address)
  check(`bind to ${address.address} port ${address.port}`, bindCall(fd, encoded, encoded.length))
}

export function listenSocket(fd: number, backlog: number): void {
  check('listen', listenCall(fd, backlog))
}

/** Starts a non-blocking connect; true when it is already done (loopback), false while it is in progress. */
export function connectSocket(fd: number, address: SocketAddress): boolean {
  const encoded = encodeSocketAddress(address)
  if (connectCall(fd, encoded, encoded.length) === 0) return true
  const errno = lastErrno()
  if (errno === EINPROGRESS) return false
  throw new LinuxError(`connect to ${address.address} port ${address.port}`, errno)
}

/** Closes a descriptor; one that is closed already is no error. */
export function closeFd(fd: number): void {
  try {
    closeSync(fd)
  } catch (thrown) {
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EBADF')) throw thrown
  }
}

/** Another descriptor of the same socket, close-on-exec. */
export function duplicateFd(fd: number): number {
  return check('fcntl(F_DUPFD_CLOEXEC)', fcntlCall(fd, F_DUPFD_CLOEXEC, 0))
}

/** Ends a socket for all who hold it; a listener stops listening, a UDP socket receiving. */
export function shutdownSocket(fd: number): void {
  // A UDP socket without a peer is shut down and reported as not connected.
  if (shutdownCall(fd, SHUT_RDWR) < 0 && lastErrno() !== ENOTCONN) check('shutdown', -1)
}

/** Holds back what is written next, to leave with the FIN in one segment (TCP_CORK, tcp(7): at most 200 ms). Tells nothing. */
export function holdForFin(fd: number): void {
  optionValue[0] = 1
  setsockoptCall(fd, IPPROTO_TCP, TCP_CORK, optionValue, 4)
}

/**
 * Sends a FIN now (shutdown(2) with SHUT_WR): nothing more will be written. libuv's own waits for the next turn of the
 * loop. All written before must be with the kernel.
 * @returns false: the socket was connected no more.
 */
export function sendFin(fd: number): boolean {
  return shutdownCall(fd, SHUT_WR) === 0
}
