/** Netlink sockets (netlink(7)), raw, non-blocking and close-on-exec; of the namespace in which they are opened. */
import { check, libc } from './libc.ts'

export const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
export const NETLINK_ROUTE = 0
export const NETLINK_NETFILTER = 12

const socketCall = libc('int socket(int, int, int)')
const recvCall = libc('long recv(int, void *, size_t, int)')

/** Call it inside the namespace (`withNetns`), use it anywhere. */
export function openNetlinkSocket(protocol: typeof NETLINK_ROUTE | typeof NETLINK_NETFILTER): number {
  return check('socket(AF_NETLINK)', socketCall(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol))
}

/** One message into `buffer`: its length, or a negative number with the reason in `lastErrno()`. */
export function receiveNetlink(fd: number, buffer: Buffer): number {
  return recvCall(fd, buffer, buffer.length, 0)
}
