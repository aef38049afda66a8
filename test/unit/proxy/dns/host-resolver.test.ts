import t from 'tap'
import { World } from '#mesh'
import { HostResolver } from '../../../../src/proxy/dns/host-resolver.ts'
import type { Pod } from '../../../../src/proxy/pod.ts'
import type { SocketTaker } from '../../../../src/proxy/sockets.ts'

/** A pod whose sockets are yet to come. */
function waitingPod() {
  const takers: SocketTaker[] = []
  const take = (_kind: string, _family: number, taker: SocketTaker) => void takers.push(taker)
  return { takers, pod: { workload: 'shop/client', stock: { take } } as unknown as Pod }
}

t.test('a pod asks for so many names at a time, and for further ones when these are told', async (t) => {
  const { takers, pod } = waitingPod()
  const upstreams = [{ address: '192.0.2.1', port: 53 }]
  const resolver = new HostResolver(
    { snapshot: new World().snapshot, now: () => 0 },
    { preferCluster: false, upstreams },
  )
  const asked = Array.from({ length: 500 }, (_, i) => {
    return new Promise<readonly string[]>((done) => resolver.resolve(pod, `${i}.wild.example`, done))
  })
  t.equal(takers.length, 128, 'two queries for each of 64 names')
  t.same(await Promise.all(asked.slice(64)), Array(436).fill([]), 'nobody knows the others')
  while (takers.length > 0) {
    for (const taker of takers.splice(0)) taker(-1, 'none left')
    await new Promise((go) => setImmediate(go))
  }
  t.same(await Promise.all(asked.slice(0, 64)), Array(64).fill([]))
  resolver.resolve(pod, 'later.wild.example', () => {})
  t.equal(takers.length, 2)
  for (let i = 0; i < 2; i++) {
    for (const taker of takers.splice(0)) taker(-1, 'none left')
    await new Promise((go) => setImmediate(go))
  }
})
