/** Two nodes that follow their CA's revocation list: who is on it is refused at once, and its open tunnels are cut. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openLab } from '../support/lab.ts'
import type { LabAgent, LogLine } from '../support/lab-agent.ts'
import { connectIn, listenIn } from '../support/raw-socket.ts'

const WEIR = join(import.meta.dirname, '../../scripts/weir')

const lab = await openLab({ t, nodes: 2 })
t.teardown(() => lab.close())
const [here, there] = lab.nodes
if (here === undefined || there === undefined) throw new Error('Two nodes were asked for')
const spec = (name: string) => ({ name, namespace: 'shop', serviceAccount: name })
const client = await here.addPod(spec('client'))
const other = await here.addPod(spec('other'))
const web = await there.addPod(spec('web'))
const caDir = join(lab.dir, 'ca')
const listFile = join(caDir, 'ca-crl.pem')
const args = { proxies: 1, extraArgs: ['--ca-dir', caDir, '--connect-timeout-ms', '1000'] }
let near = await here.startAgent(args)
const far = await there.startAgent(args)
await web.echoServer()
const url = (path: string) => `http://${web.ipv4}:8080${path}`
const inForce = 'revocation list in force'

async function serialOf(agent: LabAgent, account: string): Promise<string> {
  const { stdout } = await agent.cli('status', ['--json'])
  const { identities } = JSON.parse(stdout) as { identities: readonly { spiffeId: string; serial: string }[] }
  const found = identities.find(({ spiffeId }) => spiffeId === `spiffe://cluster.local/ns/shop/sa/${account}`)
  if (found === undefined) throw new Error(`No identity ${account} in ${stdout}`)
  // Refusals name it without leading zeros.
  return found.serial.replace(/^0+/, '')
}

/** Waits until both nodes go by the list. */
async function revoke(...serials: string[]): Promise<void> {
  const from = [near.logs.length, far.logs.length] as const
  const { code, stdout, stderr } = (await here?.exec(WEIR, ['ca', 'revoke', ...serials, '--ca-dir', caDir])) ?? {}
  t.match({ code, stdout, stderr }, { code: 0, stdout: /ca-crl\.pem: \d+ revoked, good until /, stderr: '' })
  await Promise.all([near.waitFor(inForce, { from: from[0] }), far.waitFor(inForce, { from: from[1] })])
}

const reasonHas = (text: string) => (line: LogLine) => String(line['reason']).includes(text)

t.test('a revoked client is refused live, its open connections are cut, others go on', async (t) => {
  for (const pod of [client, other]) t.equal((await pod.curl(url('/before'))).status, 200)
  await using server = await listenIn(web.netnsPath, 7000, async (connection) => {
    await connection.send('ready\n')
    await connection.rest().catch(() => undefined)
  })
  using open = await connectIn(client.netnsPath, web.ipv4, 7000)
  using kept = await connectIn(other.netnsPath, web.ipv4, 7000)
  t.same([await open.until('\n'), await kept.until('\n')], ['ready\n', 'ready\n'])
  const serial = await serialOf(near, 'client')
  const from = far.logs.length
  await revoke(serial)
  await open.rest().catch(() => undefined)
  t.not(open.ending, 'open', 'the open connection was cut')
  t.match(await far.waitFor(reasonHas(`the peer's certificate is revoked (serial ${serial})`), { from }), {
    reason: /^tunnel refused: /,
  })
  t.equal((await client.curl(url('/revoked'))).status, 503)
  t.match(await near.waitFor((line) => line['path'] === '/revoked'), {
    flags: 'UF',
    reason: new RegExp(`the pod's own certificate is revoked \\(serial ${serial}\\)`),
  })
  t.equal((await other.curl(url('/other'))).status, 200)
  t.equal(kept.ending, 'open')
  t.same(server.failures, [])
  const check = await near.cli('check')
  t.match(check, { code: 1, stdout: /^failure +certificates: 1 valid, 1 revoked, /m })
  t.match(await near.cli('status'), { code: 1, stdout: /sa\/client +revoked +/ })
})

t.test('a revoked server is refused by its callers', async (t) => {
  const serial = await serialOf(far, 'web')
  await revoke(serial)
  t.equal((await other.curl(url('/server'))).status, 503)
  t.match(await near.waitFor((line) => line['path'] === '/server'), {
    flags: 'UF',
    reason: new RegExp(`the peer's certificate is revoked \\(serial ${serial}\\)`),
  })
  t.ok(await far.waitFor(reasonHas(`the peer left`)), 'and its own node says why')
})

t.test(
  'a list that cannot be read changes nothing, is told, and a node that starts with it trusts nobody',
  async (t) => {
    const good = readFileSync(listFile, 'utf8')
    const from = far.logs.length
    writeFileSync(listFile, good.slice(0, 200))
    await far.waitFor((line) => String(line['problem']).includes('the list read before stays in force'), { from })
    t.match(await far.cli('status'), {
      code: 1,
      stdout:
        /error: Revocations: .*ca-crl\.pem holds a PEM block that is cut off, .*; the list read before stays in force/,
    })
    t.equal((await client.curl(url('/still'))).status, 503)

    t.equal(await near.stop(), 0)
    near = await here.startAgent(args)
    await near.waitFor((line) => String(line['problem']).includes('no certificate is used until it can be read'))
    t.equal((await client.curl(url('/closed'))).status, 503)
    t.match(await near.waitFor((line) => line['path'] === '/closed'), { reason: /the pod has no certificate yet/ })

    const again = near.logs.length
    writeFileSync(listFile, good)
    await near.waitFor(inForce, { from: again })
  },
)

t.test('the next certificate of a revoked identity works again', async (t) => {
  t.equal((await client.curl(url('/half'))).status, 503, 'the server is still revoked')
  t.equal(await far.stop(), 0)
  const next = await there.startAgent(args)
  await next.waitFor(inForce)
  for (const pod of [client, other]) t.equal((await pod.curl(url('/again'))).status, 200)
  t.equal((await near.cli('check')).code, 0)
})
