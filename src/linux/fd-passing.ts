/**
 * Handing file descriptors from process to process: a SOCK_SEQPACKET pair, one packet per ticket
 * (4 bytes, little endian) carrying its descriptors as SCM_RIGHTS (unix(7)).
 */
import { WeirError } from '#base'
import { check, EAGAIN, EINTR, fixedMemory, LinuxError, lastErrno, libc } from './libc.ts'
import { closeFd } from './socket.ts'

const AF_UNIX = 1
const SOCK_SEQPACKET = 5
const SOCK_CLOEXEC = 0o2000000
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CTRUNC = 0x8
const MSG_TRUNC = 0x20
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000

/** Descriptors per packet; the kernel's own limit (SCM_MAX_FD) is 253. */
export const MAX_FDS_PER_PACKET = 64

const CMSG_HEADER_BYTES = 16
const CONTROL_BYTES = CMSG_HEADER_BYTES + MAX_FDS_PER_PACKET * 4
const socketpairCall = libc('int socketpair(int, int, int, void *)')
const sendmsgCall = libc('long sendmsg(int, void *, int)')
const recvmsgCall = libc('long recvmsg(int, void *, int)')

// One block for struct msghdr (56 bytes), struct iovec (16), the ticket (4) and the control message.
const IOVEC = 64
const PAYLOAD = 80
const CONTROL = 96
type Block = ReturnType<typeof fixedMemory>
let shared: Block | undefined

function block(): Block {
  if (shared !== undefined) return shared
  shared = fixedMemory(CONTROL + CONTROL_BYTES)
  const { bytes, address } = shared
  bytes.writeBigUInt64LE(address + BigInt(IOVEC), 16)
  bytes.writeBigUInt64LE(1n, 24)
  bytes.writeBigUInt64LE(address + BigInt(CONTROL), 32)
  bytes.writeBigUInt64LE(address + BigInt(PAYLOAD), IOVEC)
  bytes.writeBigUInt64LE(4n, IOVEC + 8)
  return shared
}

/** Two connected ends; both close-on-exec (a child gets its end through `stdio`). */
export function openFdChannel(): readonly [number, number] {
  const ends = new Int32Array(2)
  check('socketpair', socketpairCall(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
  return [ends[0] ?? -1, ends[1] ?? -1]
}

/**
 * Sends one packet; never blocks. False when the receiver is behind (try again later).
 * The descriptors stay the sender's own to close. @throws LinuxError when the other end is gone
 */
export function sendFds(channel: number, ticket: number, fds: readonly number[]): boolean {
  if (fds.length === 0 || fds.length > MAX_FDS_PER_PACKET) {
    throw new WeirError('WEIR_LINUX_FDS', `A packet carries 1 to ${MAX_FDS_PER_PACKET} descriptors, not ${fds.length}.`)
  }
  const { bytes, address } = block()
  bytes.writeUInt32LE(ticket, PAYLOAD)
  bytes.writeBigUInt64LE(BigInt(CMSG_HEADER_BYTES + fds.length * 4), CONTROL)
  bytes.writeInt32LE(SOL_SOCKET, CONTROL + 8)
  bytes.writeInt32LE(SCM_RIGHTS, CONTROL + 12)
  for (const [i, fd] of fds.entries()) bytes.writeInt32LE(fd, CONTROL + CMSG_HEADER_BYTES + i * 4)
  const aligned = (CMSG_HEADER_BYTES + fds.length * 4 + 7) & ~7
  bytes.writeBigUInt64LE(BigInt(aligned), 40)
  bytes.writeInt32LE(0, 48)
  for (;;) {
    if (sendmsgCall(channel, address, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true
    const errno = lastErrno()
    if (errno === EAGAIN) return false
    if (errno !== EINTR) throw new LinuxError('sendmsg', errno)
  }
}

/**
 * Takes one packet if there is one; the descriptors are the caller's from then on, close-on-exec.
 * Without descriptors when this process may hold no more (what came with the packet is closed). `closed`: the other end
 * is gone.
 */
export function receiveFds(channel: number): { readonly ticket: number; readonly fds: number[] } | 'empty' | 'closed' {
  const { bytes, address } = block()
  bytes.writeBigUInt64LE(BigInt(CONTROL_BYTES), 40)
  bytes.writeInt32LE(0, 48)
  const size = recvmsgCall(channel, address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
  if (size < 0) {
    const errno = lastErrno()
    if (errno === EAGAIN || errno === EINTR) return 'empty'
    throw new LinuxError('recvmsg', errno)
  }
  const fds: number[] = []
  const controlBytes = Number(bytes.readBigUInt64LE(40))
  if (controlBytes >= CMSG_HEADER_BYTES && bytes.readInt32LE(CONTROL + 12) === SCM_RIGHTS) {
    const end = Number(bytes.readBigUInt64LE(CONTROL))
    for (let at = CMSG_HEADER_BYTES; at + 4 <= end; at += 4) fds.push(bytes.readInt32LE(CONTROL + at))
  }
  const flags = bytes.readInt32LE(48)
  if (size === 0 && fds.length === 0) return 'closed'
  if (size !== 4 || (flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0) {
    for (const fd of fds.splice(0)) closeFd(fd)
    if (size !== 4) throw new WeirError('WEIR_LINUX_FDS', 'A packet of file descriptors is malformed.')
  }
  return { ticket: bytes.readUInt32LE(PAYLOAD), fds }
}
