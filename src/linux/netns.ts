/**
 * Running code inside another network namespace. Only the calling thread moves, and only for the
 * length of one synchronous function: nothing awaited can ever run in the wrong namespace.
 */
import { closeSync, fstatSync, openSync } from 'node:fs'
import { WeirError } from '#base'
import { check, libc } from './libc.ts'

const CLONE_NEWNET = 0x40000000
const NSFS_MAGIC = 0x6e736673n

const setnsCall = libc('int setns(int, int)')
const fstatfsCall = libc('int fstatfs(int, void *)')
let ownFd: number | undefined

/**
 * Runs `job` with the calling thread in the namespace of `fd`, and returns to the process's own
 * whatever happens. If the way back fails the process aborts: going on in a pod's namespace is worse.
 * Sockets and child processes made by `job` stay in the namespace.
 */
export function withNetns<T>(fd: number, job: () => T): T {
  ownFd ??= openSync('/proc/self/ns/net', 'r')
  check('setns', setnsCall(fd, CLONE_NEWNET))
  try {
    return job()
  } finally {
    if (setnsCall(ownFd, CLONE_NEWNET) !== 0) process.abort()
  }
}

/** Which namespace a descriptor refers to: device and inode, the kernel's own identity of it. */
export function netnsIdentity(fd: number): string {
  const stat = fstatSync(fd, { bigint: true })
  return `${stat.dev}:${stat.ino}`
}

/** Inode number of a namespace; unique while it lives. */
export function netnsInode(fd: number): bigint {
  return fstatSync(fd, { bigint: true }).ino
}

/** Opens a namespace by path. @throws WeirError WEIR_LINUX_NETNS with the remedy */
export function openNetns(path: string): number {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    const why = missing ? 'does not exist' : 'cannot be opened'
    throw new WeirError('WEIR_LINUX_NETNS', `Network namespace ${path} ${why}; is the pod running on this node?`, {
      cause,
    })
  }
  const statfs = Buffer.alloc(256)
  const isNsfs = fstatfsCall(fd, statfs) === 0 && statfs.readBigInt64LE(0) === NSFS_MAGIC
  if (isNsfs) {
    try {
      withNetns(fd, () => undefined)
      return fd
    } catch {
      // Some other kind of namespace: refused below.
    }
  }
  closeSync(fd)
  throw new WeirError('WEIR_LINUX_NETNS', `${path} is not a network namespace; name one as /run/netns/NAME.`)
}
