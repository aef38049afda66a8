/**
 * Whether a rule by mark and the route that it leads to are there, asked of the kernel directly (rtnetlink(7)): some
 * 50 microseconds, where ip(8) takes milliseconds for each of both.
 */
import { check, LinuxError, lastErrno, libc } from './libc.ts'
import { NETLINK_ROUTE, openNetlinkSocket, receiveNetlink } from './netlink-socket.ts'
import { closeFd } from './socket.ts'
import { AF_INET, AF_INET6 } from './socket-address.ts'

const RTM_NEWROUTE = 24
const RTM_GETROUTE = 26
const RTM_NEWRULE = 32
const RTM_GETRULE = 34
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
/** NLM_F_REQUEST | NLM_F_DUMP */
const DUMP_FLAGS = 0x301
const HEADER_BYTES = 16
/** `struct fib_rule_hdr` and `struct rtmsg` alike. */
const BODY_BYTES = 12
const FR_ACT_TO_TBL = 1
const RTN_LOCAL = 2
const FRA_PRIORITY = 6
const FRA_FWMARK = 10
const FRA_TABLE = 15
const FRA_FWMASK = 16
const RTA_OIF = 4
const RTA_TABLE = 15
/** Of every namespace. */
const LOOPBACK_INDEX = 1

const sendCall = libc('long send(int, void *, size_t, int)')
const reply = Buffer.alloc(32_768)

export interface PolicyRoute {
  readonly mark: number
  readonly mask: number
  readonly preference: number
  readonly table: number
}

/** Of the calling thread's namespace: `rule` leads packets of that mark to `table`, where `route` delivers all to `lo`. */
export function findPolicyRoute(
  family: 4 | 6,
  { mark, mask, preference, table }: PolicyRoute,
): { readonly rule: boolean; readonly route: boolean } {
  const found = { rule: false, route: false }
  const fd = openNetlinkSocket(NETLINK_ROUTE)
  try {
    dump(fd, RTM_GETRULE, family, (type, message) => {
      if (type !== RTM_NEWRULE || message[7] !== FR_ACT_TO_TBL) return
      const of = attributes(message)
      found.rule ||=
        of.get(FRA_PRIORITY) === preference &&
        of.get(FRA_FWMARK) === mark &&
        of.get(FRA_FWMASK) === mask &&
        of.get(FRA_TABLE) === table
    })
    dump(fd, RTM_GETROUTE, family, (type, message) => {
      // Byte 1 is the length of the destination's prefix, byte 7 the type.
      if (type !== RTM_NEWROUTE || message[1] !== 0 || message[7] !== RTN_LOCAL) return
      const of = attributes(message)
      found.route ||= of.get(RTA_TABLE) === table && of.get(RTA_OIF) === LOOPBACK_INDEX
    })
    return found
  } finally {
    closeFd(fd)
  }
}

/** @throws LinuxError */
function dump(fd: number, type: number, family: 4 | 6, onMessage: (type: number, body: Buffer) => void): void {
  const request = Buffer.alloc(HEADER_BYTES + BODY_BYTES)
  request.writeUInt32LE(request.length, 0)
  request.writeUInt16LE(type, 4)
  request.writeUInt16LE(DUMP_FLAGS, 6)
  request[HEADER_BYTES] = family === 4 ? AF_INET : AF_INET6
  check('send(RTM_GET)', sendCall(fd, request, request.length, 0))
  for (;;) {
    const length = receiveNetlink(fd, reply)
    if (length < 0) throw new LinuxError('recv(RTM_NEW)', lastErrno())
    for (let at = 0; at + HEADER_BYTES <= length; ) {
      const size = reply.readUInt32LE(at)
      const kind = reply.readUInt16LE(at + 4)
      if (kind === NLMSG_DONE || size < HEADER_BYTES) return
      if (kind === NLMSG_ERROR) throw new LinuxError('RTM_GET', -reply.readInt32LE(at + HEADER_BYTES))
      onMessage(kind, reply.subarray(at + HEADER_BYTES, Math.min(at + size, length)))
      at += (size + 3) & ~3
    }
  }
}

/** Attributes of 4 bytes, by type. */
function attributes(message: Buffer): ReadonlyMap<number, number> {
  const out = new Map<number, number>()
  for (let at = BODY_BYTES; at + 4 <= message.length; ) {
    const size = message.readUInt16LE(at)
    if (size < 4) break
    if (size === 8 && at + 8 <= message.length) out.set(message.readUInt16LE(at + 2), message.readUInt32LE(at + 4))
    at += (size + 3) & ~3
  }
  return out
}
