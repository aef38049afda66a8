import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { enrolments } from '#mesh/compile'
import type { KubernetesObject, PodObject } from '#resources'
import { Attachments } from '../../../agent/cni/attachments.ts'
import type { OverlayOptions } from '../../../agent/cni/overlay.ts'
import type { CniAttachment } from '../../../cni/protocol.ts'
import { objectsOf } from '../mesh/compile-samples.ts'

const OPTIONS: OverlayOptions = { node: 'a', netnsFrom: 'runtime' }

function podOf(name: string, { uid = 'u1', status = '', annotations = '', node = 'a', more = '' } = {}): PodObject {
  const [pod] = objectsOf(
    `{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: shop, uid: '${uid}', annotations: {${annotations}}${more}}, spec: {nodeName: ${node}}, status: {${status}}}`,
  )
  if (pod?.kind !== 'Pod' || !('spec' in pod)) throw new Error('no pod')
  return pod
}

/** A directory with two files that stand for namespaces. */
function place(t: Test) {
  const dir = t.testdir({ ns1: '', ns2: '' })
  const told = (changes: Partial<CniAttachment> = {}): CniAttachment => ({
    containerId: 'c1',
    ifName: 'eth0',
    network: 'net',
    netns: join(dir, 'ns1'),
    pod: { namespace: 'shop', name: 'web', uid: 'u1' },
    addresses: ['10.1.0.7', 'FD00::07', '10.1.0.7', 'nonsense'],
    ...changes,
  })
  return { dir, told, open: (options = OPTIONS) => new Attachments(dir, options) }
}

function seen(objects: readonly KubernetesObject[], name = 'web') {
  const pods = objects.flatMap((object) =>
    object.kind === 'Pod' && 'spec' in object && object.metadata.name === name ? [object] : [],
  )
  const [pod] = pods
  return {
    count: pods.length,
    uid: pod?.metadata.uid,
    netns: pod?.metadata.annotations['weir.dev/netns'],
    ips: pod?.status.podIPs.map(({ ip }) => ip),
    phase: pod?.status.phase,
  }
}

t.test('a pod without addresses gets those of the runtime, and its namespace', (t) => {
  const { told, open, dir } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web'), true)
  const laid = seen(attachments.layOver([podOf('web'), podOf('other', { uid: 'u2' })]))
  t.match(laid, { netns: join(dir, 'ns1'), ips: ['10.1.0.7', 'fd00::7'], phase: undefined })
  t.match(seen(attachments.layOver([podOf('web'), podOf('other', { uid: 'u2' })]), 'other'), {
    netns: undefined,
    ips: [],
  })
  t.end()
})

t.test('an address in the status stands', (t) => {
  const { told, open, dir } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web'), true)
  const pod = podOf('web', { status: 'podIP: 10.9.9.9, podIPs: [{ip: 10.9.9.9}]' })
  t.match(seen(attachments.layOver([pod])), { netns: join(dir, 'ns1'), ips: ['10.9.9.9'] })
  t.end()
})

t.test('what was told of one pod reaches no other of its name, nor of another node', (t) => {
  const { told, open } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web'), true)
  attachments.layOver([podOf('web')])
  t.match(seen(attachments.layOver([podOf('web', { node: 'b' })])), { netns: undefined, ips: [] })
  t.match(seen(attachments.layOver([podOf('web', { uid: 'u2' })])), { uid: 'u2', netns: undefined, ips: [] })
  t.equal(attachments.get({ namespace: 'shop', name: 'web' }), undefined, 'the pod that was shown is gone')
  t.end()
})

t.test('in a cluster nobody names a namespace by annotation; in a directory the operator does', (t) => {
  const { told, open, dir } = place(t)
  const pod = podOf('web', { annotations: 'weir.dev/netns: /run/netns/other, weir.dev/mesh: enabled' })
  t.match(seen(open().layOver([pod])), { netns: undefined })
  const directory = open({ node: 'a', netnsFrom: 'annotation' })
  t.equal(directory.layOver([pod])[0], pod)
  directory.add(told(), pod, true)
  t.match(seen(directory.layOver([pod])), { netns: join(dir, 'ns1') })
  t.end()
})

t.test('a pod that the watch does not show yet is there already, in place of an older one of its name', (t) => {
  const { told, open } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web', { annotations: 'weir.dev/mesh: enabled' }), false)
  t.match(seen(attachments.layOver([])), { count: 1, uid: 'u1', ips: ['10.1.0.7', 'fd00::7'] })
  t.match(seen(attachments.layOver([podOf('web', { uid: 'old' })])), { count: 1, uid: 'u1' })
  t.equal(enrolments(attachments.layOver([]), 'a').enrolments[0]?.addresses.length, 2)
  const shown = podOf('web', { status: 'podIP: 10.1.0.8' })
  t.match(seen(attachments.layOver([shown])), { count: 1, uid: 'u1', ips: [] }, 'from then on the watch counts')
  t.match(seen(attachments.layOver([])), { count: 0 }, 'and when it shows it no more, the pod is gone')
  t.end()
})

t.test('after DEL the pod has no network, and its address is free for another', (t) => {
  const { told, open } = place(t)
  const attachments = open()
  const old = podOf('web', { status: 'podIP: 10.1.0.7', annotations: 'weir.dev/mesh: enabled' })
  attachments.add(told(), old, true)
  attachments.layOver([old])
  t.equal(attachments.end({ containerId: 'c9', ifName: 'eth0' }), undefined)
  t.equal(attachments.end({ containerId: 'c1', ifName: 'net1' }), undefined)
  t.match(attachments.end({ containerId: 'c1', ifName: 'eth0' }), { name: 'web' })
  attachments.add(
    told({ containerId: 'c2', pod: { namespace: 'shop', name: 'new', uid: 'u2' } }),
    podOf('new', { uid: 'u2', annotations: 'weir.dev/mesh: enabled' }),
    false,
  )
  const laid = attachments.layOver([old])
  t.match(seen(laid), { netns: undefined, ips: [], phase: 'Failed' })
  const local = enrolments(laid, 'a')
  t.match(local.enrolments, [{ name: 'new', addresses: ['10.1.0.7', 'fd00::7'] }])
  t.same(local.problems, [])
  t.end()
})

t.test('a sandbox made anew takes the place of the old one, whose DEL may come late', (t) => {
  const { told, open, dir } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web'), true)
  attachments.layOver([podOf('web')])
  attachments.add(told({ containerId: 'c2', netns: join(dir, 'ns2') }), podOf('web'), true)
  t.equal(attachments.end({ containerId: 'c1', ifName: 'eth0' }), undefined)
  t.match(seen(attachments.layOver([podOf('web')])), { netns: join(dir, 'ns2'), phase: undefined })
  t.end()
})

t.test('a further interface of the sandbox changes nothing', (t) => {
  const { told, open } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web'), true)
  attachments.add(told({ ifName: 'net1', addresses: ['192.168.0.1'] }), podOf('web'), true)
  t.match(seen(attachments.layOver([podOf('web')])), { ips: ['10.1.0.7', 'fd00::7'] })
  t.end()
})

t.test('the next agent knows what this one was told, where the namespace still is', (t) => {
  const { dir, told, open } = place(t)
  open().add(told(), podOf('web'), true)
  t.match(seen(open().layOver([podOf('web')])), { netns: join(dir, 'ns1'), ips: ['10.1.0.7', 'fd00::7'] })
  t.match(seen(open().layOver([])), { count: 0 }, 'an object is not made up')
  rmSync(join(dir, 'ns1'))
  t.match(seen(open().layOver([podOf('web')])), { netns: undefined })
  t.same(readdirSync(join(dir, 'attachments')), [])
  t.end()
})

t.test('records that are damaged or strange are dropped', (t) => {
  const { dir, open } = place(t)
  mkdirSync(join(dir, 'attachments'))
  for (const [name, text] of [
    ['a.json', '{"containerId":'],
    ['b.json', '{}'],
    ['c.json.new', 'x'],
  ] as const) {
    writeFileSync(join(dir, 'attachments', name), text)
  }
  t.match(seen(open().layOver([podOf('web')])), { netns: undefined })
  t.same(readdirSync(join(dir, 'attachments')), [])
  t.end()
})

t.test('a pod that was started, and deleted before the next look, does not come back', (t) => {
  const { dir, told, open } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web'), true)
  t.match(seen(attachments.layOver([])), { count: 0 })
  t.same(readdirSync(join(dir, 'attachments')), [])
  attachments.add(told(), podOf('web'), false)
  attachments.end({ containerId: 'c1', ifName: 'eth0' })
  t.match(seen(attachments.layOver([])), { count: 0 })
  t.end()
})

t.test('while the source has not told all, nothing is gone', (t) => {
  const { told, open } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web'), true)
  attachments.layOver([podOf('web')])
  attachments.layOver([], false)
  t.match(seen(attachments.layOver([podOf('web')])), { ips: ['10.1.0.7', 'fd00::7'] })
  t.end()
})

t.test('GC ends what the runtime does not name, if its namespace is gone too', (t) => {
  const { dir, told, open } = place(t)
  const attachments = open()
  attachments.add(told(), podOf('web'), true)
  attachments.add(
    told({ containerId: 'c2', netns: join(dir, 'ns2'), pod: { namespace: 'shop', name: 'b' } }),
    podOf('b', { uid: 'u2' }),
    true,
  )
  t.same(attachments.endAllBut('net', []), [], 'both namespaces are there')
  rmSync(join(dir, 'ns1'))
  rmSync(join(dir, 'ns2'))
  t.same(attachments.endAllBut('other', []), [], 'of another network')
  t.match(attachments.endAllBut('net', [{ containerId: 'c2', ifName: 'eth0' }]), [{ name: 'web' }])
  t.end()
})

t.test('what was looked up is let go when it is not needed any more', (t) => {
  const { dir, told, open } = place(t)
  const attachments = open()
  const pod = { namespace: 'shop', name: 'web', uid: 'u1' }
  let released = 0
  const found = { netns: '/proc/self/fd/9', addresses: ['10.1.0.7'], release: () => (released += 1) }
  attachments.adopt(pod, found)
  t.match(seen(attachments.layOver([podOf('web')])), { netns: '/proc/self/fd/9', ips: ['10.1.0.7'] })
  attachments.adopt(pod, found)
  t.equal(released, 1, 'a second one is not taken')
  attachments.add(told(), podOf('web'), true)
  t.equal(released, 2, 'the runtime itself knows better')
  attachments.adopt({ ...pod, uid: 'older' }, found)
  t.equal(released, 3, 'an answer about an older pod of this name comes too late')
  t.match(seen(attachments.layOver([podOf('web')])), { netns: join(dir, 'ns1') })
  attachments.adopt({ ...pod, name: 'b', uid: 'u2' }, found)
  attachments.layOver([podOf('b', { uid: 'u2' })])
  attachments.layOver([])
  t.equal(released, 4, 'its pod is gone')
  t.end()
})

t.test('one that stands by leaves the files alone, and reads them when its turn comes', (t) => {
  const { told, open, dir } = place(t)
  const [running, standby] = [open(), open()]
  standby.leaveFiles()
  running.add(told(), podOf('web'), true)
  standby.add(told({ pod: { namespace: 'shop', name: 'other', uid: 'u2' }, containerId: 'c2' }), podOf('other'), true)
  standby.layOver([])
  t.equal(readdirSync(join(dir, 'attachments')).length, 1)
  t.equal(standby.get({ namespace: 'shop', name: 'web' }), undefined)
  standby.takeFiles()
  t.match(standby.get({ namespace: 'shop', name: 'web', uid: 'u1' }), { netns: join(dir, 'ns1') })
  standby.layOver([])
  t.equal(readdirSync(join(dir, 'attachments')).length, 0, 'what is gone is forgotten again')
  t.end()
})
