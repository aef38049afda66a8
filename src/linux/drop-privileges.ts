/** Giving up root for good, and proving it: every thread of the process must be without capabilities. */
import { readdirSync, readFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { check, libc } from './libc.ts'

const PR_SET_NO_NEW_PRIVS = 38
const EX_SOFTWARE = 70
const prctlCall = libc('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)')

/** No program started from now on gains privileges by being setuid or having file capabilities. */
export function setNoNewPrivileges(): void {
  check('prctl(PR_SET_NO_NEW_PRIVS)', prctlCall(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
}

/** Empty when the thread has ended meanwhile. */
function statusOf(tid: string): string {
  try {
    return readFileSync(`/proc/self/task/${tid}/status`, 'latin1')
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOENT' || thrown.code === 'ESRCH')) return ''
    throw thrown
  }
}

/** Capability sets that are not empty, as `tid:CapEff=…`, over all threads of this process. */
export function heldCapabilities(): string[] {
  const held: string[] = []
  for (const tid of readdirSync('/proc/self/task')) {
    const status = statusOf(tid)
    for (const [, name, value] of status.matchAll(/^(CapInh|CapPrm|CapEff|CapAmb):\s*([0-9a-f]+)$/gm)) {
      if (value === undefined || !/^0+$/.test(value)) held.push(`${tid}:${name}=${value}`)
    }
  }
  return held
}

/**
 * Becomes uid and gid without supplementary groups or capabilities, on every thread. Load all code
 * first: the new user may not be able to read it. Ends the process (status 70) if anything is left.
 */
export function dropPrivileges(uid: number, gid: number): void {
  // What was compiled is kept for the next start while its directory may still be written.
  flushCompileCache()
  setNoNewPrivileges()
  if (process.getuid?.() !== uid || process.getgid?.() !== gid) {
    process.setgroups?.([])
    process.setgid?.(gid)
    process.setuid?.(uid)
  }
  const held = heldCapabilities()
  if (uid === 0 || held.length > 0 || process.geteuid?.() !== uid) {
    process.stderr.write(`Could not give up privileges: ${held.join(' ')}\n`)
    process.exit(EX_SOFTWARE)
  }
}
