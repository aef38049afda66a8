import t from 'tap'
import { nameServersFor } from '#dns'
import { World } from '#mesh'
import { endpoint, service } from '../routing/mesh-fixture.ts'

const upstreams = [{ address: '192.0.2.53', port: 53 }]
const kubeDns = service('kube-system/kube-dns', {
  addresses: ['10.96.0.10', 'fd96::a'],
  endpoints: { '53': [endpoint('10.0.0.53', { workload: 'kube-system/coredns-1' })] },
})

function asked(upsert: Parameters<World['apply']>[0]['upsert'], workload: string, preferCluster = true) {
  const snapshot = new World().apply({ version: 1, reset: true, upsert, remove: [] })
  return nameServersFor(snapshot, { upstreams, preferCluster }, workload).map(({ address }) => address)
}

t.test('the cluster’s own name servers are asked, unless others were given or there are none', (t) => {
  t.same(asked([kubeDns], 'shop/web'), ['10.96.0.10', 'fd96::a'])
  t.same(asked([kubeDns], 'shop/web', false), ['192.0.2.53'])
  t.same(asked([], 'shop/web'), ['192.0.2.53'])
  t.same(asked([service('kube-system/kube-dns')], 'shop/web'), ['192.0.2.53'])
  t.end()
})

t.test('a pod that serves the cluster’s names is not sent to itself', (t) => {
  t.same(asked([kubeDns], 'kube-system/coredns-1'), ['192.0.2.53'])
  t.end()
})
