/** What a proxy process may do, as the kernel says it: nothing but use the sockets it is given. */
import { readFileSync, readlinkSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { openDataPath } from '../support/data-path.ts'

const lab = await openDataPath(t, ['--proxy-uid', '4711'])
t.teardown(() => lab.lab.close())

interface Process {
  readonly pid: number
}
const { stdout } = await lab.agent.cli('status', ['--json'])
const { pid: agent, proxies } = JSON.parse(stdout) as Process & { proxies: readonly Process[] }
const proxy = proxies[0]?.pid ?? 0

/** A field of /proc/PID/status (proc_pid_status(5)). */
function statusOf(pid: number, field: string): string {
  const line = readFileSync(`/proc/${pid}/status`, 'utf8')
    .split('\n')
    .find((text) => text.startsWith(`${field}:`))
  return line?.slice(field.length + 1).trim() ?? ''
}

t.test('a proxy has no capability, cannot gain one, and has its own user', async (t) => {
  for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb']) {
    t.equal(BigInt(`0x${statusOf(proxy, set)}`), 0n, set)
  }
  t.equal(statusOf(proxy, 'NoNewPrivs'), '1')
  t.equal(statusOf(proxy, 'Uid'), '4711\t4711\t4711\t4711')
  t.equal(statusOf(proxy, 'Gid').split('\t').includes('0'), false)
  t.equal(statusOf(proxy, 'Groups'), '')
  t.not(BigInt(`0x${statusOf(agent, 'CapEff')}`), 0n, 'the agent has what the proxy has not')
})

t.test('a proxy is in the namespace of its agent and of no pod', async (t) => {
  // Not the agent's link itself: for moments its thread is in a pod's namespace.
  const { stdout: ofNode } = await lab.lab.node.exec('readlink', ['/proc/self/ns/net'])
  t.match(ofNode, /^net:\[\d+\]\n$/)
  t.equal(readlinkSync(`/proc/${proxy}/ns/net`), ofNode.trim())
})

t.test('the admin socket is for root alone', async (t) => {
  const socketPath = join(lab.lab.stateDir, 'admin.sock')
  const asRoot = await new Promise<number | undefined>((resolve, reject) => {
    request({ socketPath, path: '/healthz/live' }, (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end()
  })
  t.equal(asRoot, 200)
  const user = ['--reuid=4711', '--regid=4711', '--clear-groups', 'curl', '-s', '--unix-socket', socketPath]
  const tried = await lab.lab.node.exec('setpriv', [...user, 'http://weir/healthz/live'])
  t.equal(tried.code, 7, 'curl: could not connect')
})
