/**
 * One packet over a SOCK_SEQPACKET socket: some bytes, and descriptors as SCM_RIGHTS (unix(7)). Never blocks, and never
 * leaves a descriptor open that nobody was told of.
 */
import { WeirError } from '#base'
import { EAGAIN, EINTR, fixedMemory, LinuxError, lastErrno, libc } from './libc.ts'
import { closeFd } from './socket.ts'

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CTRUNC = 0x8
const MSG_TRUNC = 0x20
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000

/** Descriptors per packet; the kernel's own limit (SCM_MAX_FD) is 253. */
export const MAX_FDS_PER_PACKET = 64
export const MAX_PACKET_BYTES = 32_768

const CMSG_HEADER_BYTES = 16
const CONTROL_BYTES = CMSG_HEADER_BYTES + MAX_FDS_PER_PACKET * 4
const sendmsgCall = libc('long sendmsg(int, void *, int)')
const recvmsgCall = libc('long recvmsg(int, void *, int)')

// One block for struct msghdr (56 bytes), struct iovec (16), the control message and the bytes.
const IOVEC = 64
const CONTROL = 80
const PAYLOAD = CONTROL + ((CONTROL_BYTES + 7) & ~7)
type Block = ReturnType<typeof fixedMemory>
let shared: Block | undefined

function block(): Block {
  if (shared !== undefined) return shared
  shared = fixedMemory(PAYLOAD + MAX_PACKET_BYTES)
  const { bytes, address } = shared
  bytes.fill(0, 0, PAYLOAD)
  bytes.writeBigUInt64LE(address + BigInt(IOVEC), 16)
  bytes.writeBigUInt64LE(1n, 24)
  bytes.writeBigUInt64LE(address + BigInt(PAYLOAD), IOVEC)
  return shared
}

/**
 * False when the receiver is behind (try again later). The descriptors stay the sender's own to close.
 * @throws LinuxError when the other end is gone; WeirError when it is too much for a packet
 */
export function sendPacket(channel: number, payload: Uint8Array, fds: readonly number[]): boolean {
  if (fds.length > MAX_FDS_PER_PACKET || payload.length === 0 || payload.length > MAX_PACKET_BYTES) {
    throw new WeirError(
      'WEIR_LINUX_PACKET',
      `A packet carries 1 to ${MAX_PACKET_BYTES} bytes and at most ${MAX_FDS_PER_PACKET} descriptors, not ${payload.length} and ${fds.length}.`,
    )
  }
  const { bytes, address } = block()
  bytes.set(payload, PAYLOAD)
  bytes.writeBigUInt64LE(BigInt(payload.length), IOVEC + 8)
  if (fds.length === 0) {
    bytes.writeBigUInt64LE(0n, 32)
    bytes.writeBigUInt64LE(0n, 40)
  } else {
    bytes.writeBigUInt64LE(BigInt(CMSG_HEADER_BYTES + fds.length * 4), CONTROL)
    bytes.writeInt32LE(SOL_SOCKET, CONTROL + 8)
    bytes.writeInt32LE(SCM_RIGHTS, CONTROL + 12)
    for (const [i, fd] of fds.entries()) bytes.writeInt32LE(fd, CONTROL + CMSG_HEADER_BYTES + i * 4)
    bytes.writeBigUInt64LE(address + BigInt(CONTROL), 32)
    bytes.writeBigUInt64LE(BigInt((CMSG_HEADER_BYTES + fds.length * 4 + 7) & ~7), 40)
  }
  bytes.writeInt32LE(0, 48)
  for (;;) {
    if (sendmsgCall(channel, address, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true
    const errno = lastErrno()
    if (errno === EAGAIN) return false
    if (errno !== EINTR) throw new LinuxError('sendmsg', errno)
  }
}

export interface Packet {
  readonly payload: Buffer
  /** The caller's from now on, close-on-exec. */
  readonly fds: number[]
  /** Descriptors were sent that this process had no room for; it got none at all. */
  readonly lostFds: boolean
}

/**
 * Takes one packet if there is one. `closed`: the other end is gone.
 * @throws LinuxError when it went in disorder; WeirError for a packet longer than `maxBytes`, which is dropped
 */
export function receivePacket(channel: number, maxBytes: number): Packet | 'empty' | 'closed' {
  const { bytes, address } = block()
  bytes.writeBigUInt64LE(BigInt(Math.min(maxBytes, MAX_PACKET_BYTES)), IOVEC + 8)
  bytes.writeBigUInt64LE(address + BigInt(CONTROL), 32)
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
  const tooLong = (flags & MSG_TRUNC) !== 0
  const lostFds = (flags & MSG_CTRUNC) !== 0
  if (tooLong || lostFds) for (const fd of fds.splice(0)) closeFd(fd)
  if (tooLong) throw new WeirError('WEIR_LINUX_PACKET', `A packet is longer than ${maxBytes} bytes.`)
  return { payload: Buffer.from(bytes.subarray(PAYLOAD, PAYLOAD + size)), fds, lostFds }
}
