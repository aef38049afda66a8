import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import t from 'tap'
import { bindSocket, getMark, openTcpSocket, originalDestination, setMark, setTransparent, withNetns } from '#linux'
import {
  applyRules,
  inspectPod,
  leaveInQuarantine,
  removeRedirects,
  removeTraces,
  repairRules,
} from '../../agent/iptables/pod-rules.ts'
import {
  connectFd,
  connectFromPod,
  createTestNode,
  inPod,
  kernelState,
  listenInPod,
  readAll,
  type TestPod,
} from '../support/agent-pods.ts'

const NONE = { excludeOutboundPorts: [], excludeInboundPorts: [], excludeOutboundCidrs: [], captureDns: true }

function fdOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } }
  return handle.fd
}

/** Listeners that tell where a connection was going, in place of the proxy. */
async function standIns(pod: TestPod, family: 4 | 6) {
  const tell = (direction: string) => (socket: Socket) => {
    const to = originalDestination(fdOf(socket), family)
    socket.end(`${direction} ${to?.address} ${to?.port}`)
  }
  const servers = [
    await listenInPod(pod, family === 4 ? '127.0.0.1' : '::1', 15001, tell('outbound')),
    await listenInPod(pod, family === 4 ? '0.0.0.0' : '::', 15006, tell('inbound')),
  ]
  return { [Symbol.dispose]: () => servers.map((server) => server.close()) }
}

for (const backend of ['nft', 'legacy'] as const) {
  const program = backend === 'nft' ? 'iptables' : 'iptables-legacy'

  t.test(`${backend}: new connections are redirected both ways, marked and local ones are not`, async (t) => {
    using node = createTestNode(3)
    const a = node.pod(0)
    const b = node.pod(1)
    const c = node.pod(2)
    const lockDir = t.testdir()
    for (const pod of [a, b]) {
      if (backend === 'legacy') inPod(pod, program, '-A', 'FORWARD', '-j', 'DROP')
      const context = { netnsFd: pod.fd, lockDir }
      const { before } = await inspectPod(context)
      t.equal(before.backend, backend)
      const exclusions = {
        excludeOutboundPorts: [81],
        excludeInboundPorts: [82],
        excludeOutboundCidrs: ['10.77.0.9/32'],
        captureDns: true,
      }
      await applyRules(context, before, exclusions)
      t.same(await repairRules(context, before, exclusions), [], 'iptables-save prints what was asked for')
    }
    for (const family of [4, 6] as const) {
      using _a = await standIns(a, family)
      using _b = await standIns(b, family)
      const addressOf = (pod: TestPod) => (family === 4 ? pod.v4 : pod.v6)
      const apps = await Promise.all(
        [80, 81, 82].map((port) =>
          listenInPod(b, family === 4 ? '0.0.0.0' : '::', port, (socket) =>
            socket.end(`app sees ${socket.remoteAddress}`),
          ),
        ),
      )
      const ask = async (from: TestPod, port: number, prepare?: (fd: number) => void) =>
        await readAll(await connectFromPod(from, addressOf(b), port, prepare))
      t.equal(await ask(a, 80), `outbound ${addressOf(b)} 80`)
      t.equal(await ask(c, 80), `inbound ${addressOf(b)} 80`)
      t.equal(await ask(a, 81), `inbound ${addressOf(b)} 81`, 'an excluded outbound port leaves directly')
      t.equal(await ask(c, 82), `app sees ${addressOf(c)}`, 'an excluded inbound port arrives directly')
      t.equal(await ask(b, 80), `app sees ${addressOf(b)}`, 'a pod talks to itself undisturbed')
      t.equal(await ask(a, 80, (fd) => setMark(fd, 0x539)), `inbound ${addressOf(b)} 80`, 'our own socket leaves')

      const transparent = withNetns(b.fd, () => openTcpSocket(family))
      setMark(transparent, 0x111)
      t.equal(getMark(transparent), 0x111)
      setTransparent(transparent, family)
      bindSocket(transparent, { address: addressOf(a), port: 0 })
      const socket = await connectFd(transparent, addressOf(b), 80)
      t.equal(await readAll(socket), `app sees ${addressOf(a)}`, 'the application sees the client, and closes first')
      for (const app of apps) app.close()
    }
  })

  t.test(`${backend}: a quarantine goes in and out in one step each, with the proxies and without`, async (t) => {
    using node = createTestNode(1)
    const a = node.pod(0)
    if (backend === 'legacy') inPod(a, program, '-A', 'FORWARD', '-j', 'DROP')
    const context = { netnsFd: a.fd, lockDir: t.testdir() }
    const { before } = await inspectPod(context)
    const cut = {
      ...NONE,
      excludeOutboundPorts: [81],
      quarantine: {
        allow: ['10.77.0.9/32', '10.78.0.0/16', 'fd57::9/128', 'fd58::/64'],
        probeHosts: ['10.77.0.1', 'fd57::1'],
        probePorts: [80, 8080],
      },
    }
    await applyRules(context, before, NONE)
    const open = kernelState(a)
    await applyRules(context, before, cut)
    t.same(await repairRules(context, before, cut), [], 'iptables-save prints what was asked for')
    t.notMatch(inPod(a, `${program}-save`), /dport 81/, 'nothing is excluded')
    await leaveInQuarantine(context, before, cut)
    t.match(inPod(a, `${program}-save`), /-A WEIR_GUARD_OUTPUT -m comment --comment "weir: quarantine" -j DROP/)
    t.notMatch(inPod(a, `${program}-save`), /REDIRECT/)
    await applyRules(context, before, cut)
    t.same(await repairRules(context, before, cut), [])
    await applyRules(context, before, NONE)
    t.equal(kernelState(a), open)
  })

  t.test(
    `${backend}: flushed redirects let nothing pass, repair brings them back, removal leaves no trace`,
    async (t) => {
      using node = createTestNode(2)
      const a = node.pod(0)
      const b = node.pod(1)
      if (backend === 'legacy') inPod(b, program, '-A', 'FORWARD', '-j', 'DROP')
      else inPod(b, program, '-t', 'nat', '-A', 'OUTPUT', '-d', '192.0.2.1', '-j', 'ACCEPT')
      const untouched = kernelState(b)
      const context = { netnsFd: b.fd, lockDir: t.testdir() }
      const { before } = await inspectPod(context)
      await applyRules(context, before, NONE)
      using _b = await standIns(b, 4)
      const app = await listenInPod(b, '0.0.0.0', 80, (socket) => socket.end('app'))

      inPod(b, program, '-t', 'nat', '-F', 'WEIR_PREROUTING')
      const { promise: connected, resolve } = Promise.withResolvers<string>()
      void connectFromPod(a, b.v4, 80).then(readAll).then(resolve)
      const dropped = () =>
        Number(/\[(\d+):\d+\] -A WEIR_GUARD_INPUT .*-j DROP/.exec(inPod(b, `${program}-save`, '-c'))?.[1])
      while (dropped() === 0) await new Promise((resolve) => setTimeout(resolve, 10))
      t.same(await repairRules(context, before, NONE), ['IPv4 nat chain WEIR_PREROUTING'])
      t.equal(await connected, `inbound ${b.v4} 80`, 'the retransmitted SYN takes the right way')

      inPod(b, program, '-A', 'FORWARD', '-s', '192.0.2.2', '-j', 'DROP')
      t.same(await repairRules(context, before, NONE), [], 'a foreign rule is no difference')
      inPod(b, program, '-I', 'INPUT', '-j', 'ACCEPT')
      t.same(await repairRules(context, before, NONE), ['IPv4 filter jump from INPUT'], 'one above ours is')
      inPod(b, program, '-D', 'INPUT', '-j', 'ACCEPT')
      inPod(b, program, '-D', 'FORWARD', '-s', '192.0.2.2', '-j', 'DROP')

      await Promise.all([applyRules(context, before, NONE)])
      inPod(b, 'ip', 'rule', 'del', 'pref', '32764')
      t.same(await repairRules(context, before, NONE), ['IPv4 ip rule'])

      await removeRedirects(context, before)
      t.equal(await readAll(await connectFromPod(a, b.v4, 80)), 'app', 'direct again')
      await removeTraces(context, before)
      // The legacy back end keeps a table for the life of the namespace once anybody has asked for it; kernelState
      // reads the nft view, in which nothing may be left, and the legacy view may not hold a rule of ours.
      t.equal(kernelState(b), untouched)
      t.notMatch(inPod(b, `${program}-save`), 'WEIR')
      app.close()
    },
  )

  t.test(`${backend}: a connection survives enrolment and un-enrolment of both its ends`, async (t) => {
    using node = createTestNode(2)
    const a = node.pod(0)
    const b = node.pod(1)
    const lockDir = t.testdir()
    const app = await listenInPod(b, '0.0.0.0', 80, (socket) => socket.pipe(socket))
    const socket = await connectFromPod(a, b.v4, 80)
    const echo = async (text: string) => {
      socket.write(text)
      const [chunk] = await once(socket, 'data')
      t.equal(String(chunk), text)
    }
    await echo('before')
    const pods = await Promise.all(
      [a, b].map(async (pod) => {
        if (backend === 'legacy') inPod(pod, program, '-A', 'FORWARD', '-j', 'DROP')
        const context = { netnsFd: pod.fd, lockDir }
        return { context, before: (await inspectPod(context)).before }
      }),
    )
    await Promise.all(pods.map(({ context, before }) => applyRules(context, before, NONE)))
    await echo('enrolled')
    await Promise.all(pods.map(({ context, before }) => removeRedirects(context, before)))
    await echo('draining')
    await Promise.all(pods.map(({ context, before }) => removeTraces(context, before)))
    await echo('gone')
    socket.destroy()
    app.close()
  })
}

t.test('a pod without IPv6 gets no IPv6 rules', async (t) => {
  using node = createTestNode(1)
  const pod = node.pod(0)
  inPod(pod, 'sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1')
  const context = { netnsFd: pod.fd, lockDir: t.testdir() }
  const { before } = await inspectPod(context)
  t.same(before.families, [4])
  await applyRules(context, before, NONE)
  t.notMatch(inPod(pod, 'ip6tables-save'), 'WEIR')
})

t.test('applying again, and applying other exclusions, replaces; pods do not mix', async (t) => {
  using node = createTestNode(4)
  const lockDir = t.testdir()
  await Promise.all(
    node.pods.map(async (pod, i) => {
      const context = { netnsFd: pod.fd, lockDir }
      const { before } = await inspectPod(context)
      await applyRules(context, before, NONE)
      await applyRules(context, before, { ...NONE, excludeOutboundPorts: [1000 + i] })
      const ports = [...inPod(pod, 'iptables-save').matchAll(/-A WEIR_OUTPUT .*--dport (\d+) .*excluded/g)].map(
        ([, port]) => port,
      )
      t.same(ports, [String(1000 + i)])
      t.equal((await inspectPod(context)).hasRemains, true)
    }),
  )
})

t.test('the agent itself never stays in a pod', (t) => {
  const here = () => readFileSync('/proc/thread-self/net/dev', 'utf8').split('\n').length
  const before = execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' })
  using node = createTestNode(1)
  const pod = node.pod(0)
  t.throws(() =>
    withNetns(pod.fd, () => {
      throw new Error('inside')
    }),
  )
  t.equal(execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' }), before)
  t.ok(here() > 0)
  t.end()
})
