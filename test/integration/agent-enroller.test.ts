import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { shutdownSocket } from '#linux'
import { AgentCounters } from '../../agent/counters.ts'
import { Enroller, type PodHost } from '../../agent/enrol/enroller.ts'
import type { EnrolmentWish } from '../../agent/enrol/wish.ts'
import { createLog } from '../../agent/log.ts'
import { createTestNode, inPod, kernelState, listenInPod, type TestPod } from '../support/agent-pods.ts'

class FakeHost implements PodHost {
  readonly calls: string[] = []
  readonly listenerFds = new Map<string, readonly number[]>()
  /** Settles the drains waited for. */
  drained: () => void = () => undefined

  addPod(pod: Parameters<PodHost['addPod']>[0]): void {
    this.calls.push(`add ${pod.workload}`)
    this.listenerFds.set(
      pod.uid,
      pod.listeners.map(({ fd }) => fd),
    )
  }

  removePod(uid: string, mode: 'drain' | 'now'): Promise<void> {
    this.calls.push(`remove ${uid} ${mode}`)
    return mode === 'now' ? Promise.resolve() : new Promise((resolve) => (this.drained = resolve))
  }

  forgetPod(): void {}
}

function wish(pod: TestPod, uid: string, more: Partial<EnrolmentWish> = {}): EnrolmentWish {
  const none = { excludeOutboundPorts: [], excludeInboundPorts: [], excludeOutboundCidrs: [], captureDns: true }
  return { uid, namespace: 'shop', name: uid, serviceAccount: 'default', netns: pod.path, ...none, ...more }
}

function create(stateDir: string) {
  const host = new FakeHost()
  const counters = new AgentCounters()
  const enroller = new Enroller({ stateDir, host, counters, log: createLog('silent', 'n1') })
  return {
    host,
    counters,
    enroller,
    state: (uid: string) => enroller.list().find((status) => status.uid === uid),
    async [Symbol.asyncDispose]() {
      await enroller.stopRedirecting(false)
      await enroller.close(false)
    },
  }
}

async function until(what: string, probe: () => boolean): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (probe()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`Never happened: ${what}`)
}

t.test('a pod is enrolled, changed, opted out with a drain, and left without a trace', async (t) => {
  using node = createTestNode(1)
  const pod = node.pod(0)
  const before = kernelState(pod)
  await using agent = create(t.testdir())
  await agent.enroller.setWishes([wish(pod, 'web')])
  t.equal(agent.state('web')?.state, 'enrolled')
  await agent.enroller.setWishes([wish(pod, 'web', { excludeOutboundPorts: [3306] })])
  t.match(inPod(pod, 'iptables-save'), '--dport 3306')
  t.same(agent.host.calls, ['add shop/web'], 'the listeners stayed')
  await agent.enroller.setWishes([])
  t.equal(agent.state('web')?.state, 'draining')
  t.notMatch(inPod(pod, 'iptables-save'), 'REDIRECT')
  t.match(inPod(pod, 'ip', 'rule'), '0x111', 'running connections still need their route')
  agent.host.drained()
  await until('un-enrolled', () => agent.state('web') === undefined)
  t.equal(kernelState(pod), before)
})

t.test('wanted again while it drains, its connections go on', async (t) => {
  using node = createTestNode(1)
  const pod = node.pod(0)
  await using agent = create(t.testdir())
  await agent.enroller.setWishes([wish(pod, 'web')])
  await agent.enroller.setWishes([])
  await agent.enroller.setWishes([wish(pod, 'web')])
  agent.host.drained()
  t.equal(agent.state('web')?.state, 'enrolled')
  t.match(inPod(pod, 'iptables-save'), 'REDIRECT')
  t.same(agent.host.calls, ['add shop/web', 'remove web drain', 'add shop/web'])
})

t.test('each failure names what is missing and its remedy, and stops no other pod', async (t) => {
  using node = createTestNode(2)
  const good = node.pod(0)
  const busy = node.pod(1)
  const server = await listenInPod(busy, '0.0.0.0', 15006, () => undefined)
  await using agent = create(t.testdir())
  await agent.enroller.setWishes([
    wish(good, 'gone', { netns: '/run/netns/weirt-none' }),
    wish(good, 'file', { netns: '/etc/hostname' }),
    wish(good, 'other', { netns: '/proc/self/ns/uts' }),
    wish(good, 'own', { netns: '/proc/self/ns/net' }),
    wish(good, 'unnamed', { netns: undefined }),
    wish(busy, 'busy'),
    wish(good, 'good'),
  ])
  t.match(agent.state('gone'), {
    state: 'failed',
    detail: 'Pod shop/gone: Network namespace /run/netns/weirt-none does not exist',
  })
  t.match(agent.state('file'), { state: 'failed', detail: '/etc/hostname is not a network namespace' })
  t.match(agent.state('other'), { state: 'failed', detail: 'is not a network namespace' })
  t.match(agent.state('own'), { state: 'failed', detail: "the node's own network namespace" })
  t.match(agent.state('unnamed'), { state: 'failed', detail: 'weir.dev/netns' })
  t.match(agent.state('busy'), {
    state: 'failed',
    detail: /Port 15006 .*in use inside the pod.*; if another Weir agent serves this node, stop it/,
  })
  t.match(agent.state('good'), { state: 'enrolled' })
  t.notMatch(inPod(busy, 'iptables-save'), 'WEIR', 'no rule without a listener')
  await new Promise((resolve) => server.close(resolve))
  await until('tried again', () => agent.state('busy')?.state === 'enrolled')
})

t.test('flushed rules and dead listeners are found, restored and counted', async (t) => {
  using node = createTestNode(1)
  const pod = node.pod(0)
  await using agent = create(t.testdir())
  await agent.enroller.setWishes([wish(pod, 'web')])
  await until('verified', () => (agent.state('web')?.verifiedAt ?? 0) > 0)
  t.equal(agent.counters.total('weir_enrolment_repairs_total'), 0, 'a sound pod needs no repair')
  inPod(pod, 'nft', 'flush', 'ruleset')
  await until('rules repaired', () => agent.counters.total('weir_enrolment_repairs_total') === 1)
  t.match(inPod(pod, 'iptables-save'), 'WEIR_GUARD_INPUT')
  const policyRoutes: readonly string[][] = [
    ['-4', 'rule', 'del', 'pref', '32764'],
    ['-6', 'route', 'flush', 'table', '100'],
  ]
  for (const [i, deletion] of policyRoutes.entries()) {
    inPod(pod, 'ip', ...deletion)
    await until('route repaired', () => agent.counters.total('weir_enrolment_repairs_total') === 2 + i)
  }
  inPod(pod, 'sh', '-c', 'echo 0 >/proc/sys/net/ipv4/fwmark_reflect')
  await until('sysctl repaired', () => agent.counters.total('weir_enrolment_repairs_total') === 4)
  t.equal(inPod(pod, 'cat', '/proc/sys/net/ipv4/fwmark_reflect').trim(), '1')
  t.match(inPod(pod, 'ip', '-4', 'rule'), '32764')
  t.match(inPod(pod, 'ip', '-6', 'route', 'show', 'table', '100'), 'local default')
  shutdownSocket(agent.host.listenerFds.get('web')?.[1] ?? -1)
  await until('listeners repaired', () => agent.counters.total('weir_enrolment_repairs_total') === 5)
  t.same(agent.host.calls, ['add shop/web', 'add shop/web'], 'the new listeners are handed over')
  t.match(inPod(pod, 'ss', '-Hltn', 'sport', '=', ':15006'), '0.0.0.0:15006')
  const bound = inPod(pod, 'ss', '-Hluen', 'sport', '=', ':15053')
  // Index 3 is the first family's UDP socket for queries.
  shutdownSocket(agent.host.listenerFds.get('web')?.[3] ?? -1)
  await until('UDP socket repaired', () => agent.counters.total('weir_enrolment_repairs_total') === 6)
  const again = inPod(pod, 'ss', '-Hluen', 'sport', '=', ':15053')
  t.match(again, '127.0.0.1:15053')
  t.not(again, bound)
})

t.test('a new namespace under the old path is a new pod', async (t) => {
  const name = `weirt-${randomBytes(3).toString('hex')}`
  const make = () => {
    execFileSync('ip', ['netns', 'add', name])
    execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
  }
  const remove = () => execFileSync('ip', ['netns', 'del', name])
  make()
  try {
    const pod = { name, path: `/run/netns/${name}`, fd: -1, v4: '', v6: '' }
    await using agent = create(t.testdir())
    await agent.enroller.setWishes([wish(pod, 'web')])
    remove()
    make()
    await until('enrolled anew', () => agent.host.calls.length >= 3 && agent.state('web')?.state === 'enrolled')
    t.same(agent.host.calls, ['add shop/web', 'remove web now', 'add shop/web'])
    t.match(execFileSync('ip', ['netns', 'exec', name, 'iptables-save'], { encoding: 'utf8' }), 'WEIR_OUTPUT')
  } finally {
    remove()
  }
})

t.test('what a crashed agent left is adopted when wanted, and cleared when not', async (t) => {
  using node = createTestNode(2)
  const kept = node.pod(0)
  const left = node.pod(1)
  const before = [kernelState(kept), kernelState(left)]
  const stateDir = t.testdir()
  const first = create(stateDir)
  await first.enroller.setWishes([wish(kept, 'kept'), wish(left, 'left')])
  await first.enroller.stopRedirecting(true)
  await first.enroller.close(true)
  t.match(inPod(kept, 'iptables-save'), 'REDIRECT', 'rules were kept')
  {
    await using second = create(stateDir)
    await second.enroller.clearLeftovers(new Set(['kept']))
    t.equal(kernelState(left), before[1])
    await second.enroller.setWishes([wish(kept, 'kept')])
    t.equal(second.state('kept')?.state, 'enrolled')
  }
  t.equal(kernelState(kept), before[0])
  t.same(readdirSync(join(stateDir, 'pods')), [])
})
