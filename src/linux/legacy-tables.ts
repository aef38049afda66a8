/** What the legacy iptables back end tells cheaply of a table: entries and bytes, without listing them. */
import { check, libc } from './libc.ts'
import { AF_INET, AF_INET6 } from './socket-address.ts'

const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const IPPROTO_RAW = 255
const SOL_IP = 0
const SOL_IPV6 = 41
const IPT_SO_GET_INFO = 64
const INFO_BYTES = 84

const socketCall = libc('int socket(int, int, int)')
const getsockoptCall = libc('int getsockopt(int, int, int, void *, void *)')
const info = Buffer.alloc(INFO_BYTES)
const length = new Uint32Array(1)

/** Opens the socket to ask through; call it inside the namespace, use it anywhere. */
export function openLegacyTablesSocket(family: 4 | 6): number {
  return check('socket(SOCK_RAW)', socketCall(family === 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW))
}

/** Text that changes when a table gains or loses a rule; undefined when the table does not exist. */
export function legacyTableSize(fd: number, family: 4 | 6, table: string): string | undefined {
  info.fill(0)
  info.write(table, 0, 31, 'latin1')
  length[0] = INFO_BYTES
  if (getsockoptCall(fd, family === 4 ? SOL_IP : SOL_IPV6, IPT_SO_GET_INFO, info, length) !== 0) return undefined
  return `${info.readUInt32LE(76)}/${info.readUInt32LE(80)}`
}
