/** Whether routes or routing rules of a network namespace changed: the kernel tells, nobody lists them (rtnetlink(7)). */
import { check, EAGAIN, lastErrno, libc } from './libc.ts'

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const SOCK_NONBLOCK = 0o4000
const NETLINK_ROUTE = 0
/** RTNLGRP_IPV4_ROUTE, _IPV4_RULE, _IPV6_ROUTE and _IPV6_RULE, as a mask. */
const GROUPS = (1 << 6) | (1 << 7) | (1 << 10) | (1 << 18)

const socketCall = libc('int socket(int, int, int)')
const bindCall = libc('int bind(int, void *, unsigned int)')
const recvCall = libc('long recv(int, void *, size_t, int)')

const address = Buffer.alloc(12)
address.writeUInt16LE(AF_NETLINK, 0)
address.writeUInt32LE(GROUPS, 8)
const message = Buffer.alloc(8192)

/** Opens the socket that is told; call it inside the namespace (`withNetns`), use it anywhere. */
export function openRouteWatch(): number {
  const type = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK
  const fd = check('socket(NETLINK_ROUTE)', socketCall(AF_NETLINK, type, NETLINK_ROUTE))
  check('bind(NETLINK_ROUTE)', bindCall(fd, address, address.length))
  return fd
}

/** True when there was a change since it was asked last; also when there were more than could be queued. */
export function takeRouteChange(fd: number): boolean {
  let changed = false
  while (recvCall(fd, message, message.length, 0) >= 0) changed = true
  return changed || lastErrno() !== EAGAIN
}
