/** Named unix sockets that carry packets and descriptors between processes of root that are not parent and child. */
import { rmSync } from 'node:fs'
import { WeirError } from '#base'
import { check, EAGAIN, EINTR, LinuxError, lastErrno, libc } from './libc.ts'
import { closeFd } from './socket.ts'

const AF_UNIX = 1
const SOCK_SEQPACKET = 5
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
/** unix(7): sun_path holds 108 bytes, one of them a zero. */
const MAX_PATH_BYTES = 107
const BACKLOG = 4
const ECONNABORTED = 103

const socketCall = libc('int socket(int, int, int)')
const bindCall = libc('int bind(int, void *, uint32_t)')
const listenCall = libc('int listen(int, int)')
const acceptCall = libc('int accept4(int, void *, void *, int)')
const connectCall = libc('int connect(int, void *, uint32_t)')

/** Replaces what is at the path; mode 0600 from its first moment. @throws LinuxError or WeirError */
export function listenPackets(path: string): number {
  const address = encodePath(path)
  const fd = openSocket()
  try {
    rmSync(path, { force: true })
    // Nobody can connect before its mode is right.
    const before = process.umask(0o177)
    try {
      check(`bind to ${path}`, bindCall(fd, address, address.length))
    } finally {
      process.umask(before)
    }
    check('listen', listenCall(fd, BACKLOG))
    return fd
  } catch (thrown) {
    closeFd(fd)
    throw thrown
  }
}

/** The next connection if one waits; undefined: none does. */
export function acceptPackets(fd: number): number | undefined {
  const accepted = acceptCall(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC)
  if (accepted >= 0) return accepted
  const errno = lastErrno()
  if (errno === EAGAIN || errno === EINTR || errno === ECONNABORTED) return undefined
  throw new LinuxError('accept4', errno)
}

/** Connected at once, or never. @throws LinuxError `ENOENT` or `ECONNREFUSED` when nobody listens there */
export function connectPackets(path: string): number {
  const address = encodePath(path)
  const fd = openSocket()
  if (connectCall(fd, address, address.length) === 0) return fd
  const errno = lastErrno()
  closeFd(fd)
  throw new LinuxError(`connect to ${path}`, errno)
}

function openSocket(): number {
  return check('socket(AF_UNIX)', socketCall(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
}

/** `struct sockaddr_un`. */
function encodePath(path: string): Buffer {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new WeirError('WEIR_LINUX_PATH', `${path} is longer than ${MAX_PATH_BYTES} bytes; choose a shorter one.`)
  }
  const bytes = Buffer.alloc(2 + Buffer.byteLength(path) + 1)
  bytes.writeUInt16LE(AF_UNIX)
  bytes.write(path, 2)
  return bytes
}
