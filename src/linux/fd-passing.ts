/**
 * Handing file descriptors from agent to proxy: a SOCK_SEQPACKET pair, one packet per ticket (4 bytes, little endian)
 * that carries its descriptors.
 */
import { WeirError } from '#base'
import { check, libc } from './libc.ts'
import { closeFd } from './socket.ts'
import { MAX_FDS_PER_PACKET, receivePacket, sendPacket } from './unix-message.ts'

const AF_UNIX = 1
const SOCK_SEQPACKET = 5
const SOCK_CLOEXEC = 0o2000000
const TICKET_BYTES = 4

const socketpairCall = libc('int socketpair(int, int, int, void *)')
const ticketBytes = Buffer.alloc(TICKET_BYTES)

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
  ticketBytes.writeUInt32LE(ticket)
  return sendPacket(channel, ticketBytes, fds)
}

/**
 * Takes one packet if there is one; the descriptors are the caller's from then on, close-on-exec.
 * Without descriptors when this process may hold no more (what came with the packet is closed). `closed`: the other end
 * is gone.
 */
export function receiveFds(channel: number): { readonly ticket: number; readonly fds: number[] } | 'empty' | 'closed' {
  const packet = receivePacket(channel, TICKET_BYTES)
  if (packet === 'empty' || packet === 'closed') return packet
  if (packet.payload.length !== TICKET_BYTES) {
    for (const fd of packet.fds) closeFd(fd)
    throw new WeirError('WEIR_LINUX_FDS', 'A packet of file descriptors is malformed.')
  }
  return { ticket: packet.payload.readUInt32LE(), fds: packet.fds }
}
