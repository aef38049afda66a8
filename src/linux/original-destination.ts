/** Where a redirected connection was going (SO_ORIGINAL_DST). Once per accepted connection: no allocation but the result. */
import { libc } from './libc.ts'
import { decodeSocketAddress, type SocketAddress } from './socket-address.ts'

const SOL_IP = 0
const SOL_IPV6 = 41
const SO_ORIGINAL_DST = 80
const IP6T_SO_ORIGINAL_DST = 80

const getsockoptCall = libc('int getsockopt(int, int, int, void *, void *)')
const address = Buffer.alloc(28)
const length = new Uint32Array(1)

/**
 * The destination before REDIRECT, or undefined when the connection was not redirected
 * (somebody dialled the listener itself) or conntrack no longer knows it.
 */
export function originalDestination(fd: number, family: 4 | 6): SocketAddress | undefined {
  length[0] = family === 4 ? 16 : 28
  const result =
    family === 4
      ? getsockoptCall(fd, SOL_IP, SO_ORIGINAL_DST, address, length)
      : getsockoptCall(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, address, length)
  return result === 0 ? decodeSocketAddress(address) : undefined
}
