import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openLab } from '../support/lab.ts'
import { inNetns, listNetns, netnsPath, removeNetns } from '../support/lab-network.ts'
import { collectAbandonedLabs, listLabs } from '../support/lab-registry.ts'
import { rootNetwork } from '../support/lab-root-network.ts'

const LAB = join(import.meta.dirname, '../../scripts/lab')

/** Waits for a file that a process is about to make or remove, watching the process's own announcement instead. */
async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  for await (const chunk of stream) {
    text += String(chunk)
    if (text.includes('\n')) return text.split('\n')[0] ?? ''
  }
  throw new Error(`The stream ended after ${JSON.stringify(text)}`)
}

t.test('pods of a lab reach each other and the node over IPv4 and IPv6', async (t) => {
  await using lab = await openLab()
  const web = await lab.addPod({ name: 'web', namespace: 'shop', ports: [{ name: 'http', containerPort: 8080 }] })
  const client = await lab.addPod({ name: 'client', namespace: 'shop' })
  await web.echoServer()

  t.ok(existsSync(netnsPath(`weir-${lab.id}-node`)))
  t.ok(existsSync(netnsPath(`weir-${lab.id}-shop-web`)))
  for (const [index, address] of web.addresses.entries()) {
    const host = address.includes(':') ? `[${address}]` : address
    const answer = await client.echo(`http://${host}:8080/hello?a=1`, ['-d', 'body text'])
    t.match(answer, { name: 'web', method: 'POST', url: '/hello?a=1', body: 'body text' })
    t.equal(answer.remoteAddress, client.addresses[index], 'the server sees the address of the client pod')
    t.equal((await lab.node.exec('ping', ['-c1', '-W5', address])).code, 0, `the node reaches ${address}`)
    const gateway = lab.node.addresses[index] ?? ''
    t.equal((await client.exec('ping', ['-c1', '-W5', gateway])).code, 0, `a pod reaches the node's ${gateway}`)
  }
  t.equal(web.addresses.length, 2)
})

t.test('a lab without IPv6 has no IPv6 addresses', async (t) => {
  await using lab = await openLab({ ipv6: false })
  const pod = await lab.addPod({ name: 'web' })
  t.same(pod.addresses, [pod.ipv4])
  t.notMatch((await pod.exec('ip', ['-6', 'addr', 'show', 'scope', 'global'])).stdout, /inet6/)
})

t.test('a lab changes nothing in the root namespace, neither while it is up nor after', async (t) => {
  const before = rootNetwork()
  const lab = await openLab()
  await lab.addPod({ name: 'web' })
  t.equal(rootNetwork(), before, 'while it is up')
  await lab.close()
  t.equal(rootNetwork(), before, 'after it')
  t.same(listNetns(`weir-${lab.id}-`), [], 'no namespace is left')
  t.notOk(existsSync(lab.dir), 'no directory is left')
  t.notOk(
    listLabs().some((record) => record.id === lab.id),
    'no record is left',
  )
})

t.test('labs side by side have names and directories of their own and do not see each other', async (t) => {
  await using first = await openLab()
  await using second = await openLab()
  const server = await first.addPod({ name: 'web' })
  const stranger = await second.addPod({ name: 'web' })
  await server.echoServer()
  t.not(first.id, second.id)
  t.not(first.dir, second.dir)
  t.not(server.netns, stranger.netns)
  const { code } = await stranger.curl(`http://${server.ipv4}:8080/`, ['-m', '1'])
  t.not(code, 0, 'a pod of the other lab is out of reach')
  await second.close()
  t.equal((await server.echo(`http://${server.ipv4}:8080/`)).name, 'web', 'closing one lab leaves the other')
})

t.test('objects are written as one file each, and rewritten and removed', async (t) => {
  await using lab = await openLab()
  const pod = await lab.addPod({ name: 'web', namespace: 'shop', serviceAccount: 'web', optedIn: true })
  const service = lab.addService({ name: 'web', namespace: 'shop', selector: { app: 'web' }, ports: [{ port: 80 }] })
  t.same(readdirSync(lab.manifestsDir).sort(), ['pod-shop-web.yaml', 'service-shop-web.yaml'])
  const read = async (name: string) => (await pod.exec('cat', [join(lab.manifestsDir, name)])).stdout
  const text = await read('pod-shop-web.yaml')
  t.match(text, `weir.dev/netns: ${pod.netnsPath}`)
  t.match(text, 'weir.dev/mesh: enabled')
  t.match(text, `nodeName: ${lab.node.name}`)
  for (const address of pod.addresses) t.match(text, `- ip: ${address}`)
  t.match(await read('service-shop-web.yaml'), `clusterIP: ${service.ipv4}`)
  pod.update({ optedIn: false })
  t.match(await read('pod-shop-web.yaml'), 'weir.dev/mesh: disabled')
  await pod.remove()
  t.same(readdirSync(lab.manifestsDir), ['service-shop-web.yaml'])
  t.notOk(existsSync(pod.netnsPath))
})

t.test('the echo server echoes trailers, chunked bodies and WebSocket messages', async (t) => {
  await using lab = await openLab({ ipv6: false })
  const pod = await lab.addPod({ name: 'web' })
  await pod.echoServer()
  const url = `http://${pod.ipv4}:8080`
  t.match(await pod.curl(`${url}/?status=418&header=x-a:1`), { status: 418, headers: { 'x-a': ['1'] } })
  t.match((await pod.curl(`${url}/?trailer=end`, ['-i'])).body, /transfer-encoding: chunked[\s\S]*x-echo-trailer: end/i)
  const socket = `const s = new WebSocket('ws://${pod.ipv4}:8080/')
    s.onopen = () => s.send('hello')
    s.onmessage = event => { console.log('got ' + event.data); s.close() }`
  const client = pod.spawn(process.execPath, ['-e', socket])
  t.equal(await client.waitForLine(/^got/), 'got hello')
})

t.test('processes run as they would without tap, with the environment that the test gives', async (t) => {
  await using lab = await openLab({ ipv6: false })
  const { stdout } = await lab.node.exec('env', [], { env: { WEIR_LAB_WORD: 'a b' } })
  t.notMatch(stdout, /NODE_OPTIONS/)
  t.match(stdout, /^WEIR_LAB_WORD=a b$/m)
  t.equal((await lab.node.exec('no-such-command')).code, 127)
})

t.test('an agent that does not get ready fails the start with what it said', async (t) => {
  await using lab = await openLab({ ipv6: false })
  await t.rejects(lab.startAgent({ extraArgs: ['--no-such-option'] }), {
    message: /ended with [1-9][\s\S]*no-such-option/,
  })
  const agent = await lab.startAgent({ extraArgs: ['--no-such-option'], waitReady: false })
  t.not(await agent.process.exited, 0)
  t.same(agent.logs, [])
  t.match(await agent.cli('no-such-verb'), { stderr: 'no-such-verb' })
})

t.test('a process that ends early or never says what is awaited fails the wait with its output', async (t) => {
  await using lab = await openLab({ ipv6: false })
  await t.rejects(lab.node.node('console.log("something else"); process.exit(3)'), {
    message: /ended with 3[\s\S]*something else/,
  })
  const silent = lab.node.spawn('sleep', ['1000'])
  await t.rejects(silent.waitForLine(/never/, 50), { message: /not within 50 ms/ })
  t.same(await lab.node.exec('sleep', ['1000'], { timeoutMs: 50 }), { code: -1, stdout: '', stderr: '' })
})

t.test('what an owner killed with SIGKILL leaves behind is collected, with its processes', async (t) => {
  const script = `import { openLab } from ${JSON.stringify(join(import.meta.dirname, '../support/lab.ts'))}
    const lab = await openLab({ ipv6: false })
    const pod = await lab.addPod({ name: 'web' })
    const server = await pod.echoServer()
    console.log(JSON.stringify({ id: lab.id, dir: lab.dir, serverPid: server.pid }))
    setInterval(() => {}, 1000)`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(owner, 'exit')
  const { id, dir, serverPid } = JSON.parse(await firstLine(owner.stdout)) as {
    id: string
    dir: string
    serverPid: number
  }
  t.notOk(collectAbandonedLabs().includes(id), 'a lab whose owner lives is left alone')
  t.equal(listNetns(`weir-${id}-`).length, 2)
  owner.kill('SIGKILL')
  await exited
  t.equal(listNetns(`weir-${id}-`).length, 2, 'its namespaces outlive it')
  execFileSync(LAB, ['gc'])
  t.same(listNetns(`weir-${id}-`), [])
  t.notOk(existsSync(dir))
  t.notOk(existsSync(`/proc/${serverPid}/net`) && existsSync(`/proc/${serverPid}/exe`), 'its server is gone')
})

t.test('a pod that goes away takes its processes with it, and none that only looks in', async (t) => {
  await using lab = await openLab()
  const pod = await lab.addPod({ name: 'web' })
  const resident = pod.spawn('sh', ['-c', 'echo up; exec sleep 60'])
  await resident.until('it is there', () => resident.stdout || undefined)
  const looksIn = `
    import { readSync, writeSync } from 'node:fs'
    import { openNetns, withNetns } from '${join(import.meta.dirname, '../../src/linux/netns.ts')}'
    withNetns(openNetns('${netnsPath(`weir-${lab.id}-default-web`)}'), () => {
      writeSync(1, 'inside\\n')
      readSync(0, Buffer.alloc(1))
    })
    console.log('back')`
  const [command, args] = inNetns(lab.node.netns, process.execPath, ['--input-type=module', '--eval', looksIn])
  const visitor = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.equal(await firstLine(visitor.stdout), 'inside')
  removeNetns(`weir-${lab.id}-default-web`)
  t.equal(await resident.exited, -1)
  visitor.stdin.end('.')
  t.same(await once(visitor, 'exit'), [0, null])
})

t.test('an owner that is asked to end takes its lab down first', async (t) => {
  const script = `import { openLab } from ${JSON.stringify(join(import.meta.dirname, '../support/lab.ts'))}
    const lab = await openLab({ ipv6: false })
    console.log(lab.id)
    setInterval(() => {}, 1000)`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(owner, 'exit')
  const id = await firstLine(owner.stdout)
  t.equal(listNetns(`weir-${id}-`).length, 1)
  owner.kill('SIGTERM')
  const [, signal] = await exited
  t.equal(signal, 'SIGTERM')
  t.same(listNetns(`weir-${id}-`), [])
})

t.test('scripts/lab makes a lab that stays, runs commands in it, lists it and takes it down', async (t) => {
  const lab = (...args: string[]) => execFileSync(LAB, args, { encoding: 'utf8' })
  const id = /^lab +(\w+)$/m.exec(lab('up', '--pods', '1', '--no-ipv6'))?.[1] ?? ''
  t.teardown(() => {
    if (listLabs().some((record) => record.id === id)) lab('down', id)
  })
  t.match(lab('list'), new RegExp(`^${id} +kept +2 namespaces`, 'm'))
  t.match(lab('exec', id, 'pod-1', 'ip', 'addr', 'show', 'eth0'), /inet 10\./)
  t.throws(() => lab('exec', id, 'no-such-pod', 'true'), { message: /is not one of the lab's namespaces/ })
  t.throws(() => lab('exec', id, 'pod-1'), { status: 2, message: /No command for pod-1: scripts\/lab exec / })
  lab('gc')
  t.equal(listNetns(`weir-${id}-`).length, 2, 'gc leaves a lab without an owner alone')
  lab('down', id)
  t.same(listNetns(`weir-${id}-`), [])
  t.throws(() => lab('down', id), { message: /There is no lab/ })
})
