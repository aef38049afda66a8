/** A network namespace of nobody's, to try things in: it lives as long as the child process that was started in it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeFd, openNetns } from '#linux'

export interface ScratchNetns extends Disposable {
  readonly fd: number
}

/** Needs root. @throws when there is no unshare(1), or it may not */
export async function openScratchNetns(signal: AbortSignal): Promise<ScratchNetns> {
  // cat answers when it is in the new namespace, and ends with its input: also when this process is killed.
  const child = spawn('unshare', ['--net', 'cat'], {
    env: { PATH: '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
    stdio: 'pipe',
  })
  const end = () => child.kill('SIGKILL')
  child.stdin.on('error', () => undefined)
  child.stdin.write('are you there?\n')
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text.slice(0, 500)
  })
  try {
    const ended = once(child, 'close').then(() => {
      throw new Error(`unshare --net failed: ${said.trim() || 'no reason given'}`)
    })
    await Promise.race([once(child.stdout, 'data', { signal }), ended])
    // From here on it may end as it likes.
    ended.catch(() => undefined)
    const fd = openNetns(`/proc/${child.pid}/ns/net`)
    return {
      fd,
      [Symbol.dispose]: () => {
        closeFd(fd)
        end()
      },
    }
  } catch (thrown) {
    end()
    const missing = thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT'
    throw missing ? new Error('The program unshare is missing; install it: apt install util-linux.') : thrown
  }
}
