/** Whether routes or routing rules of a network namespace changed: the kernel tells, nobody lists them (rtnetlink(7)). */
import { check, EAGAIN, lastErrno, libc } from './libc.ts'
import { AF_NETLINK, NETLINK_ROUTE, openNetlinkSocket, receiveNetlink } from './netlink-socket.ts'

/** RTNLGRP_IPV4_ROUTE, _IPV4_RULE, _IPV6_ROUTE and _IPV6_RULE, as a mask. */
const GROUPS = (1 << 6) | (1 << 7) | (1 << 10) | (1 << 18)

const bindCall = libc('int bind(int, void *, unsigned int)')

const address = Buffer.alloc(12)
address.writeUInt16LE(AF_NETLINK, 0)
address.writeUInt32LE(GROUPS, 8)
const message = Buffer.alloc(8192)

/** Opens the socket that is told; call it inside the namespace (`withNetns`), use it anywhere. */
export function openRouteWatch(): number {
  const fd = openNetlinkSocket(NETLINK_ROUTE)
  check('bind(NETLINK_ROUTE)', bindCall(fd, address, address.length))
  return fd
}

/** True when there was a change since it was asked last; also when there were more than could be queued. */
export function takeRouteChange(fd: number): boolean {
  let changed = false
  while (receiveNetlink(fd, message) >= 0) changed = true
  return changed || lastErrno() !== EAGAIN
}
