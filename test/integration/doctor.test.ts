/** `weir check` beyond the agent's own state: on a good node, and on one where things were broken by hand. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { CheckLine } from '#contract'
import { openKubernetesApi } from '#kubernetes'
import { examineNode } from '../../agent/doctor/doctor.ts'
import { runPreflight } from '../../agent/doctor/preflight.ts'
import { FakeApiServer } from '../support/fake-api-server.ts'
import { openLab } from '../support/lab.ts'
import type { LabAgent } from '../support/lab-agent.ts'

const lab = await openLab({ t })
t.teardown(() => lab[Symbol.asyncDispose]())
const web = await lab.addPod({ name: 'web', namespace: 'shop' })
const outsider = await lab.addPod({ name: 'outsider', namespace: 'shop', optedIn: false })

async function check(agent: LabAgent, code: number): Promise<readonly CheckLine[]> {
  const answer = await agent.cli('check', ['--json'])
  if (answer.code !== code) throw new Error(`weir check ended with ${answer.code}: ${answer.stderr}${answer.stdout}`)
  return JSON.parse(answer.stdout) as CheckLine[]
}

/** Resolves when the agent has looked at the rules of its pods once. */
async function verified(agent: LabAgent): Promise<void> {
  for (;;) {
    const { stdout } = await agent.cli('pods', ['--json'])
    const pods = JSON.parse(stdout) as { readonly state: string; readonly verifiedAt: number }[]
    if (pods.every(({ state, verifiedAt }) => state !== 'enrolled' || verifiedAt > 0)) return
  }
}

function bad(lines: readonly CheckLine[]): string[] {
  return lines.filter(({ result }) => result !== 'ok').map(({ result, what }) => `${result} ${what}`)
}

async function run(pod: typeof web, program: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await pod.exec(program, args)
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${stderr}`)
}

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'weir-doctor-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

t.test('with an agent', async (t) => {
  const agent = await lab.startAgent({ proxies: 1 })
  t.teardown(() => agent.stop())
  await verified(agent)

  await t.test('on a good node each line is ok, and says what was looked at', async (t) => {
    const lines = await check(agent, 0)
    t.strictSame(bad(lines), [])
    for (const what of [
      /^kernel \d/,
      /^Node v26/,
      /^the mesh's rules work here: iptables/,
      /^marked and transparent sockets/,
      /^iptables: one back end/,
      /^nothing is left over/,
      /^NetworkPolicies are not among the manifests/,
    ]) {
      t.ok(
        lines.some((line) => what.test(line.what)),
        String(what),
      )
    }
  })

  await t.test('rules that were flushed, and rules in the other back end too', async (t) => {
    const from = agent.logs.length
    await run(web, 'iptables-nft', '-t', 'nat', '-F')
    await agent.waitFor('rules repaired', { from })
    await run(web, 'iptables-legacy', '-A', 'INPUT', '-p', 'udp', '-j', 'ACCEPT')
    const lines = bad(await check(agent, 0))
    t.match(lines, [
      /^warning pod shop\/web enrolled, rules verified, after \d repairs/,
      'warning iptables: both back ends hold rules in pods shop/web',
    ])
    await run(web, 'iptables-legacy', '-F')
  })

  await t.test('what is left of an enrolment in a pod that is none, with nobody there', async (t) => {
    await run(outsider, 'iptables-nft', '-t', 'nat', '-N', 'WEIR_OUTPUT')
    await run(outsider, 'ip', 'rule', 'add', 'fwmark', '0x111/0xfff', 'pref', '32764', 'lookup', '100')
    const records = join(lab.node.stateDir, 'pods')
    writeFileSync(
      join(records, 'gone.json'),
      JSON.stringify({ uid: 'u', workload: 'shop/gone', path: '/x', identity: '1:2' }),
    )
    const lines = (await check(agent, 1)).filter(({ what }) => what.startsWith('left over'))
    t.match(lines, [
      {
        result: 'warning',
        what: 'left over: records of 1 pods that are not served: shop/gone',
        remedy: /restart the agent/,
      },
      {
        result: 'failure',
        what: /^left over: pod shop\/outsider \(\/run\/netns\/.*\) is not enrolled and has chains WEIR_\* and its ip rule$/,
      },
    ])
    rmSync(join(records, 'gone.json'))
    await using listener = await outsider.echoServer({ port: 15006 })
    const known = bad(await check(agent, 0)).filter((line) => line.includes('left over'))
    t.strictSame(known, [], 'where somebody listens, an agent is taken to be at work')
    await listener.stop()
    await run(outsider, 'ip', 'rule', 'del', 'pref', '32764')
    await run(outsider, 'iptables-nft', '-t', 'nat', '-X', 'WEIR_OUTPUT')
    t.ok((await check(agent, 0)).some(({ what }) => /^nothing is left over/.test(what)))
  })
})

t.test('without an agent', async (t) => {
  await t.test('the command looks at the machine and the network plugins', async (t) => {
    const confDir = directory(t)
    const flags = [
      'check',
      '--preflight',
      '--json',
      '--cni-conf-dir',
      confDir,
      '--cni-bin-dir',
      confDir,
      '--state-dir',
      confDir,
    ]
    writeFileSync(join(confDir, '10-net.conflist'), '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"}]}')
    const answer = await lab.node.exec(join(import.meta.dirname, '../../scripts/weir'), flags)
    const lines = JSON.parse(answer.stdout) as CheckLine[]
    t.match(lines[0], { result: 'ok', what: 'no agent runs here' })
    t.ok(lines.some(({ what }) => what.startsWith("the mesh's rules work here")))
    t.ok(lines.some(({ what }) => what === `CNI: ${confDir}/10-net.conflist (bridge) can take Weir`))
    t.ok(lines.some(({ result, what }) => result === 'warning' && what === `CNI: ${confDir} holds no network plugin`))
  })

  await t.test('what was named and is not there is a failure', async (t) => {
    const nowhere = join(directory(t), 'nowhere')
    const lines = await runPreflight({
      stateDir: '/proc/x',
      netnsDir: nowhere,
      version: '0.1.0',
      cniConfDir: nowhere,
      cniBinDir: nowhere,
    })
    t.match(
      bad(lines).filter((line) => /state dir|CNI/.test(line)),
      [
        'failure state directory /proc/x cannot be written (/proc: a pseudo file system, proc)',
        `failure CNI: ${nowhere} is no directory`,
        `failure CNI: ${nowhere} is no directory`,
      ],
    )
  })

  await t.test('what an agent that is gone left behind', async (t) => {
    const stateDir = directory(t)
    const netnsDir = directory(t)
    const binDir = directory(t)
    const options = { stateDir, netnsDir, cniConfDir: binDir, cniBinDir: binDir, version: '0.1.0' }
    const plugin = join(binDir, 'weir')
    writeFileSync(plugin, '#!/bin/sh\nread _; echo \'{"supportedVersions":["1.0.0"]}\'\n')
    chmodSync(plugin, 0o755)
    writeFileSync(join(binDir, 'bridge'), '', { mode: 0o755 })
    writeFileSync(
      join(binDir, '10-n.conflist'),
      '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"},{"type":"weir"}]}',
    )
    mkdirSync(join(stateDir, 'pods'))
    const record = { uid: 'u', workload: 'shop/outsider', path: '/x', identity: '1:2' }
    writeFileSync(join(stateDir, 'pods', 'u.json'), JSON.stringify(record))
    symlinkSync(`/run/netns/${outsider.netns}`, join(netnsDir, 'pod'))
    await run(outsider, 'iptables-nft', '-N', 'WEIR_GUARD_OUTPUT')
    t.match(
      bad(await runPreflight(options)).filter((line) => /CNI|left over/.test(line)),
      [
        /^warning CNI: Weir is chained into .* and no agent runs here/,
        /^warning left over: records of 1 pods .*shop\/outsider/,
        new RegExp(`^failure left over: ${netnsDir}/pod is not enrolled and has chains WEIR_`),
      ],
    )
    await run(outsider, 'iptables-nft', '-X', 'WEIR_GUARD_OUTPUT')
  })

  await t.test('an agent of a cluster whose API server hangs still says what it knows of the node', async (t) => {
    const stateDir = directory(t)
    const confDir = directory(t)
    await using server = await FakeApiServer.start()
    await using api = await openKubernetesApi({ kubeconfig: await server.kubeconfig(stateDir) })
    server.freeze()
    const lines = await examineNode({
      node: 'node-1',
      stateDir,
      version: '0.1.0',
      namespace: 'weir-system',
      api,
      staleSince: () => Date.parse('2026-01-01T00:00:00Z'),
      cni: { confDir, binDir: confDir },
      world: () => [],
      enrolled: () => new Set(),
      identities: () => [{ spiffeId: 'spiffe://cluster.local/ns/shop/sa/web', notBeforeMs: Date.now() + 3_600_000 }],
      now: Date.now,
      netnsDir: stateDir,
    })
    t.match(bad(lines), [
      /^failure clock is behind the CA's: 1 certificates/,
      /^warning CNI: .* holds no network configuration/,
      /^failure API server http:.* does not serve us/,
      'failure what is known of the cluster is from 2026-01-01T00:00:00.000Z',
    ])
    t.ok(lines.some(({ what }) => what.startsWith("the mesh's rules work here")))
  })

  await t.test('the cluster of a kubeconfig, or why there is none', async (t) => {
    const stateDir = directory(t)
    await using server = await FakeApiServer.start()
    const text = (value: object) => ({ text: JSON.stringify(value) })
    server.fault(({ path }) => path === '/version', text({ gitVersion: 'v1.31.0' }))
    using allowed = server.fault(
      ({ path }) => path.endsWith('selfsubjectaccessreviews'),
      text({ status: { allowed: true } }),
    )
    const kubeconfig = await server.kubeconfig(stateDir)
    const options = { stateDir, netnsDir: stateDir, version: '0.1.0', kubeconfig, cniConfDir: join(stateDir, 'none') }
    const lines = await runPreflight(options)
    t.match(
      lines.slice(-5).map(({ what }) => what),
      [
        `API server ${server.url} answers`,
        'Kubernetes v1.31.0',
        /^clock agrees/,
        'this kubeconfig may install Weir',
        'versions: 0.1.0',
      ],
    )
    allowed[Symbol.dispose]()
    server.fault(({ path }) => path.endsWith('selfsubjectaccessreviews'), text({ status: { allowed: false } }))
    t.match(
      bad(await runPreflight(options)).at(-1),
      /^warning this kubeconfig may not install Weir: create namespaces, /,
    )
    await server.vanish()
    t.match((await runPreflight(options)).at(-1), { result: 'failure', what: /does not serve us/, remedy: /refused/ })
    const missing = await runPreflight({ ...options, kubeconfig: join(stateDir, 'nowhere') })
    t.match(missing.at(-1), { result: 'failure', what: /nowhere does not exist/ })
    await server.comeBack()
  })
})
