/**
 * The nftables generation of a network namespace: a counter that every change of its rules moves.
 * One message there and back, some microseconds; whether rules changed at all is known without listing them.
 */
import { check, libc } from './libc.ts'
import { NETLINK_NETFILTER, openNetlinkSocket, receiveNetlink } from './netlink-socket.ts'

const NFNL_SUBSYS_NFTABLES = 10
const NFT_MSG_NEWGEN = 15
const NFT_MSG_GETGEN = 16
const NFTA_GEN_ID = 1
const NLM_F_REQUEST = 1
const HEADER_BYTES = 20

const sendCall = libc('long send(int, void *, size_t, int)')

const request = Buffer.alloc(HEADER_BYTES)
request.writeUInt32LE(HEADER_BYTES, 0)
request.writeUInt16LE((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, 4)
request.writeUInt16LE(NLM_F_REQUEST, 6)
const reply = Buffer.alloc(1024)

/** Opens the socket to ask through; call it inside the namespace (`withNetns`), use it anywhere. */
export function openNetfilterSocket(): number {
  return openNetlinkSocket(NETLINK_NETFILTER)
}

/** The generation now; undefined when the kernel has no nftables. */
export function nftablesGeneration(fd: number): number | undefined {
  check('send(NFT_MSG_GETGEN)', sendCall(fd, request, request.length, 0))
  const length = receiveNetlink(fd, reply)
  if (length < HEADER_BYTES || reply.readUInt16LE(4) !== ((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_NEWGEN))
    return undefined
  for (let at = HEADER_BYTES; at + 8 <= length; ) {
    const size = reply.readUInt16LE(at)
    if ((reply.readUInt16LE(at + 2) & 0x3fff) === NFTA_GEN_ID) return reply.readUInt32BE(at + 4)
    if (size < 4) return undefined
    at += (size + 3) & ~3
  }
  return undefined
}
