/** The lab of several nodes: what joins them, what can be broken between them, what can be seen there. */
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { openLab } from '../support/lab.ts'
import type { LabHost } from '../support/lab-host.ts'
import { listNetns } from '../support/lab-network.ts'
import { listLabs } from '../support/lab-registry.ts'
import { rootNetwork } from '../support/lab-root-network.ts'

const LAB = join(import.meta.dirname, '../../scripts/lab')

function urlOf(address: string, path = '/'): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:8080${path}`
}

/** How many of `count` pings, 5 ms apart, are answered; the last one within a second. */
async function pings(from: LabHost, address: string, count = 1): Promise<number> {
  const args = ['-q', '-c', String(count), '-i', '0.005', '-W', '1', address]
  const { stdout } = await from.exec('ping', args)
  return Number(/(\d+) received/.exec(stdout)?.[1])
}

t.test('pods of all nodes and the nodes reach each other over both families by their own addresses', async (t) => {
  const before = rootNetwork()
  await using lab = await openLab({ t, nodes: 3 })
  const clients = await Promise.all(lab.nodes.map((node) => node.addPod({ name: `client-${node.name}` })))
  const web = await lab.nodeNamed('node-3').addPod({ name: 'web' })
  await web.echoServer()

  for (const host of [...clients, ...lab.nodes]) {
    for (const [index, address] of web.addresses.entries()) {
      const { name, remoteAddress } = await host.echo(urlOf(address))
      t.equal(name, 'web')
      t.equal(remoteAddress, host.addresses[index], `the server sees the address of ${host.name}`)
    }
    const addresses = lab.nodes.flatMap((node) => node.addresses)
    const answers = await Promise.all(addresses.map((address) => host.exec('ping', ['-c1', '-W5', address])))
    for (const [index, { code }] of answers.entries()) t.equal(code, 0, `${host.name} reaches ${addresses[index]}`)
  }
  t.equal(web.addresses.length, 2)
  const [inside = ''] = lab.nodeNamed('node-3').podNetwork.ipv4.split('.0/24')
  t.match(web.ipv4, inside, 'a pod has an address of its node')
  t.equal(rootNetwork(), before, 'nothing is made in the root namespace')
})

t.test('nodes and zones are named as one likes, and told to Kubernetes', async (t) => {
  await using lab = await openLab({ t, nodes: ['left', 'right'], zones: ['eu-1/eu-1a', 'zone-b'], ipv6: false })
  const right = lab.nodeNamed('right')
  await right.addPod({ name: 'web', namespace: 'shop' })
  const read = (name: string): unknown => parse(readFileSync(join(lab.manifestsDir, name), 'utf8'))
  t.match(read('node-left.yaml'), {
    kind: 'Node',
    metadata: {
      name: 'left',
      labels: { 'topology.kubernetes.io/region': 'eu-1', 'topology.kubernetes.io/zone': 'eu-1a' },
    },
    spec: { podCIDRs: [lab.node.podNetwork.ipv4] },
    status: { addresses: [{ type: 'InternalIP', address: lab.node.ipv4 }] },
  })
  t.match(read('node-right.yaml'), {
    metadata: { labels: { 'topology.kubernetes.io/region': 'region-1', 'topology.kubernetes.io/zone': 'zone-b' } },
    status: { addresses: [{ type: 'InternalIP', address: right.ipv4 }] },
  })
  t.match(read('pod-shop-web.yaml'), { spec: { nodeName: 'right' }, status: { hostIP: right.ipv4 } })
  t.ok(existsSync(right.netnsPath))
  t.match((await lab.fabric.exec('ip', ['-6', 'addr', 'show', 'scope', 'global'])).stdout, /^$/)
})

t.test('a wish for nodes that cannot be is refused before anything is made', async (t) => {
  const before = listLabs().map(({ id }) => id)
  await t.rejects(openLab({ nodes: 0 }), { message: /1 to 32 nodes/ })
  await t.rejects(openLab({ nodes: ['a', 'a'] }), { message: /Two nodes have one name/ })
  await t.rejects(openLab({ nodes: ['a', 'fabric'] }), { message: /fabric cannot be the name/ })
  await t.rejects(openLab({ nodes: 2, zones: ['a'] }), { message: /one for each/ })
  t.same(
    listLabs().filter(({ id, owner }) => owner?.pid === process.pid && !before.includes(id)),
    [],
  )
  await using lab = await openLab({ ipv6: false })
  t.throws(() => lab.cut('node-1', 'node-2'), { message: /no fabric: give `nodes: 2`/ })
  t.throws(() => lab.nodeNamed('node-2'), { message: /No node node-2: there is node-1/ })
  t.same(readdirSync(lab.manifestsDir), [], 'the only node of a plain lab has no Node object')
})

t.test('a cut parts two nodes in both directions and families, and no others, until it is healed', async (t) => {
  await using lab = await openLab({ t, nodes: 3 })
  const pods = await Promise.all(lab.nodes.map((node) => node.addPod({ name: `pod-${node.name}` })))
  const reachable = async () => {
    const pairs = pods.flatMap((from, i) =>
      pods.flatMap((to, j) =>
        i === j
          ? []
          : to.addresses.map((address, k) => ({ from, address, name: `${i + 1}-${j + 1} ${k === 0 ? 4 : 6}` })),
      ),
    )
    const received = await Promise.all(pairs.map(({ from, address }) => pings(from, address)))
    return pairs.map(({ name }) => name).filter((_, index) => received[index] === 1)
  }
  const all = [
    '1-2 4',
    '1-2 6',
    '1-3 4',
    '1-3 6',
    '2-1 4',
    '2-1 6',
    '2-3 4',
    '2-3 6',
    '3-1 4',
    '3-1 6',
    '3-2 4',
    '3-2 6',
  ]
  t.same(await reachable(), all)
  await lab.cut('node-2', lab.node)
  t.same(
    await reachable(),
    all.filter((pair) => !/^(1-2|2-1)/.test(pair)),
  )
  t.equal(await pings(lab.node, lab.nodeNamed('node-2').ipv4), 0, 'the nodes themselves are parted')
  for (const command of ['iptables', 'ip6tables']) {
    // A ping cannot tell one direction from both.
    const { stdout } = await lab.fabric.exec(command, ['-S', 'FORWARD'])
    const rules = stdout.split('\n').filter((line) => line.startsWith('-A'))
    t.same(rules.sort(), ['-A FORWARD -i link1 -o link2 -j DROP', '-A FORWARD -i link2 -o link1 -j DROP'])
  }
  await lab.cut('node-1', 'node-3')
  await lab.heal('node-1', 'node-2')
  t.same(
    await reachable(),
    all.filter((pair) => !/^(1-3|3-1)/.test(pair)),
    'each pair is healed by itself',
  )
  await Promise.all([lab.cut('node-1', 'node-3'), lab.heal('node-1', 'node-3')])
  t.same(await reachable(), all, 'of changes at one time the last one told stays')
  t.throws(() => lab.cut('node-1', 'node-1'), { message: /between two nodes/ })
})

t.test('packets are dropped by percentage', async (t) => {
  await using lab = await openLab({ t, nodes: 2 })
  const near = await lab.node.addPod({ name: 'near' })
  const far = await lab.nodeNamed('node-2').addPod({ name: 'far' })
  const received = (count: number) => Promise.all(far.addresses.map((address) => pings(near, address, count)))
  await lab.dropPackets('node-1', 'node-2', 100)
  t.same(await received(5), [0, 0])
  // That none of eighty gets through and back happens once in ten thousand million runs.
  await lab.dropPackets('node-1', 'node-2', 50)
  for (const count of await received(80)) t.ok(count > 0 && count < 80, `${count} of 80 got through`)
  await lab.dropPackets('node-1', 'node-2', 0)
  t.same(await received(20), [20, 20])
  t.throws(() => lab.dropPackets('node-1', 'node-2', 101), { message: /0 to 100 percent/ })
})

t.test('packets are delayed where the kernel can, and otherwise it is said', async (t) => {
  await using lab = await openLab({ t, nodes: 3 })
  const near = await lab.node.addPod({ name: 'near' })
  const far = await lab.nodeNamed('node-2').addPod({ name: 'far' })
  const delayed = await lab.delay('node-1', 'node-2', 60)
  t.equal(delayed, await lab.fabric.hasNetem())
  for (const address of far.addresses) {
    const { stdout } = await near.exec('ping', ['-q', '-c', '3', '-i', '0.2', address])
    const least = Number(/= ([\d.]+)\//.exec(stdout)?.[1])
    t.ok(delayed ? least >= 120 : least >= 0, `the fastest round trip took ${least} ms`)
  }
  t.equal(await pings(near, lab.nodeNamed('node-3').ipv4), 1)
  await lab.heal('node-1', 'node-2')
  const { stdout } = await lab.fabric.exec('tc', ['qdisc', 'show'])
  t.notMatch(stdout, /htb|netem/)
})

t.test('a capture shows the plain text of what passes a node, all of it, and nothing else', async (t) => {
  await using lab = await openLab({ t, nodes: 3 })
  const client = await lab.node.addPod({ name: 'client' })
  const web = await lab.nodeNamed('node-2').addPod({ name: 'web' })
  await web.echoServer()
  await using first = await lab.capture('node-1')
  await using elsewhere = await lab.capture('node-3')
  for (const [index, address] of web.addresses.entries()) {
    await client.curl(urlOf(address, `/secret-${index}`), ['-H', 'x-word: open-sesame'])
  }
  await web.curl(urlOf(web.ipv4, '/inside'))
  const [seen, nothing] = await Promise.all([first.stop(), elsewhere.stop()])
  for (const [index, address] of web.addresses.entries()) {
    t.ok(seen.bytes.includes(`GET /secret-${index} HTTP/1.1`), `the request over ${address} is seen`)
    const asked = seen.flows.filter(({ destination }) => destination === address)
    t.match(asked, [{ protocol: 'tcp', source: client.addresses[index], destinationPort: 8080 }])
    t.match(asked[0]?.payload.toString(), /^GET \/secret-\d HTTP\/1\.1\r\n[\s\S]*x-word: open-sesame\r\n\r\n$/)
    const answered = seen.flows.filter(({ source }) => source === address)
    t.match(answered[0]?.payload.toString(), /^HTTP\/1\.1 200 OK[\s\S]*"open-sesame"[\s\S]*\}$/)
  }
  t.notOk(seen.bytes.includes('/inside'), 'what stays on a node does not pass the fabric')
  t.same(nothing.flows, [], 'what passes between others is not seen')
  t.ok(nothing.packetCount > 0)
})

t.test('a captured stream is whole and in order though packets were lost and sent again', async (t) => {
  await using lab = await openLab({ t, nodes: 2, ipv6: false })
  const client = await lab.node.addPod({ name: 'client' })
  const web = await lab.nodeNamed('node-2').addPod({ name: 'web' })
  await web.echoServer()
  // Many packets, not few large ones.
  await client.exec('ip', ['link', 'set', 'eth0', 'gso_max_segs', '1'])
  await using capture = await lab.capture('node-1')
  const body = randomBytes(150_000).toString('hex')
  await lab.dropPackets('node-1', 'node-2', 3)
  const args = ['-o', '/dev/null', '-m', '20', '-d', '@-']
  const { code, status } = await client.curl(urlOf(web.ipv4), args, { input: body, timeoutMs: 20_000 })
  t.match({ code, status }, { code: 0, status: 200 })
  const { flows } = await capture.stop()
  const [request = ''] = flows
    .filter(({ destinationPort }) => destinationPort === 8080)
    .map((f) => f.payload.toString())
  t.ok(request.endsWith(`\r\n\r\n${body}`), `${request.length} bytes`)
})

t.test('the agents of two nodes read one set of objects, and each enrols the pods of its own node', async (t) => {
  await using lab = await openLab({ t, nodes: 2 })
  const agents = []
  for (const node of lab.nodes) {
    await node.addPod({ name: `pod-${node.name}`, namespace: 'shop' })
    agents.push(await node.startAgent({ proxies: 1 }))
  }
  for (const [index, node] of lab.nodes.entries()) {
    const agent = agents[index]
    const { stdout } = (await agent?.cli('pods', ['--json', '--all'])) ?? { stdout: '[]' }
    const pods = JSON.parse(stdout) as { name: string; state: string }[]
    const enrolled = pods.filter(({ state }) => state === 'enrolled').map(({ name }) => name)
    t.same(enrolled, [`pod-${node.name}`])
    t.same(pods.map(({ name }) => name).sort(), ['pod-node-1', 'pod-node-2'], 'it knows those of both')
    t.same(
      agent?.logs.filter(({ level }) => Number(level) >= 40),
      [],
      'it finds nothing wrong with the objects',
    )
  }
  t.not(lab.nodes[0]?.stateDir, lab.nodes[1]?.stateDir)
  const rules = async (name: string) => (await lab.nodeNamed(name).exec('iptables-save')).stdout
  t.notMatch((await rules('node-1')) + (await rules('node-2')), /WEIR/, 'the nodes themselves are left alone')
  t.notMatch((await lab.fabric.exec('iptables-save')).stdout, /WEIR/)
  for (const agent of agents) t.equal(await agent.stop(), 0)
})

t.test('a lab of several nodes goes without a trace, and leaves the one beside it alone', async (t) => {
  const before = rootNetwork()
  await using beside = await openLab({ nodes: 2, ipv6: false })
  const lab = await openLab({ nodes: 2 })
  await lab.nodeNamed('node-2').addPod({ name: 'web' })
  await lab.cut('node-1', 'node-2')
  const capture = await lab.capture('node-1')
  t.equal(listNetns(`weir-${lab.id}-`).length, 4)
  await lab.close()
  await capture[Symbol.asyncDispose]()
  t.same(listNetns(`weir-${lab.id}-`), [])
  t.notOk(existsSync(lab.dir))
  t.notOk(listLabs().some(({ id }) => id === lab.id))
  t.equal(rootNetwork(), before)
  t.equal(await pings(beside.node, beside.nodeNamed('node-2').ipv4), 1, 'no fault and no end reaches another lab')
})

t.test('what an owner of several nodes killed with SIGKILL leaves behind is collected', async (t) => {
  const script = `import { openLab } from ${JSON.stringify(join(import.meta.dirname, '../support/lab.ts'))}
    const lab = await openLab({ nodes: 2 })
    await lab.nodeNamed('node-2').addPod({ name: 'web' })
    await lab.capture('node-2')
    const { stdout } = await lab.fabric.exec('ip', ['netns', 'pids', lab.fabric.netns])
    console.log(JSON.stringify({ id: lab.id, dir: lab.dir, pids: stdout.trim().split('\\n') }))
    setInterval(() => {}, 1000)`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(owner, 'exit')
  const [line] = (await once(owner.stdout.setEncoding('utf8'), 'data')) as [string]
  const { id, dir, pids } = JSON.parse(line) as { id: string; dir: string; pids: string[] }
  owner.kill('SIGKILL')
  await exited
  t.equal(listNetns(`weir-${id}-`).length, 4, 'its namespaces outlive it')
  t.ok(pids.length > 0)
  execFileSync(LAB, ['gc'])
  t.same(listNetns(`weir-${id}-`), [])
  t.notOk(existsSync(dir))
  for (const pid of pids) t.notOk(existsSync(`/proc/${pid}/exe`), 'its capture is gone')
})

t.test('scripts/lab makes several nodes, lists them, and runs commands in each and in the fabric', async (t) => {
  const lab = (...args: string[]) => execFileSync(LAB, args, { encoding: 'utf8' })
  const text = lab('up', '--nodes', '2', '--pods', '3')
  const id = /^lab +(\w+)$/m.exec(text)?.[1] ?? ''
  t.teardown(() => {
    if (listLabs().some((record) => record.id === id)) lab('down', id)
  })
  t.match(text, new RegExp(`^fabric +weir-${id}-fabric$`, 'm'))
  t.match(text, /^pod .*pod-2 .* on node-2$/m)
  t.match(lab('ls'), new RegExp(`^${id} +kept +6 namespaces +2 nodes: node-1 node-2 `, 'm'))
  const [address = ''] = /(?<=^node .*-node-2 +)[\d.]+/m.exec(text) ?? []
  t.match(lab('exec', id, 'pod-1', 'ping', '-c1', '-W5', address), /1 received/)
  t.match(lab('exec', id, 'node-2', 'ip', 'addr', 'show', 'br0'), address)
  t.match(lab('exec', id, 'fabric', 'ip', '-o', 'link'), /link1.*\n.*link2/)
  const agents = text.split('\n').filter((line) => line.includes('scripts/weir agent '))
  const directories = agents.map((line) => / --ca-dir (\S+)$/.exec(line)?.[1])
  t.equal(directories.length, 2)
  t.ok(directories[0] !== undefined && directories[0] === directories[1], 'the agents are of one CA')
  t.throws(() => lab('up', '--nodes', '0'), { message: /--nodes must be 1 to 32/ })
  lab('down', id)
  t.same(listNetns(`weir-${id}-`), [])
})
