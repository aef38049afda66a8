/** A lock that ends with its holder, however it ends (flock(2)). */
import { closeSync, openSync } from 'node:fs'
import { EAGAIN, LinuxError, lastErrno, libc } from './libc.ts'

const LOCK_EX_NB = 6
const flockCall = libc('int flock(int, int)')

/** Takes the lock for the life of the process; undefined when another process holds it. */
export function lockFile(path: string): Disposable | undefined {
  const fd = openSync(path, 'a', 0o600)
  if (flockCall(fd, LOCK_EX_NB) === 0) return { [Symbol.dispose]: () => closeSync(fd) }
  const errno = lastErrno()
  closeSync(fd)
  if (errno === EAGAIN) return undefined
  throw new LinuxError(`flock of ${path}`, errno)
}
