/** Policies of a workload are compiled again when something of them changed, and only then. */
import t from 'tap'
import type { MeshObject } from '#contract'
import { World } from '#mesh'
import { policiesOf } from '../../../src/proxy/workload-policies.ts'
import { compile, manifest, pod } from '../mesh/compile-samples.ts'

const policy = (name: string, spec: string) =>
  manifest('weir.dev/v1alpha1', 'AuthorizationPolicy', name, `spec: ${spec}`)
const service = (name: string, app: string) =>
  manifest('v1', 'Service', name, `spec: { selector: { app: ${app} }, ports: [{ port: 80 }] }`)

function objectsIn(text: string): readonly MeshObject[] {
  return [...compile(text).world.values()]
}

t.test('they stay the same value until one of them, the workload, or a Service that they name changes', async (t) => {
  const world = new World()
  let version = 0
  const put = (text: string, { only = '', remove = [] as readonly string[] } = {}) =>
    world.apply({
      version: ++version,
      reset: false,
      upsert: objectsIn(text).filter(({ kind }) => only === '' || kind === only),
      remove,
    })
  const now = () => {
    const workload = world.snapshot.workload('shop/a')
    if (workload === undefined) throw new Error('No workload')
    return policiesOf(world.snapshot, workload)
  }
  put(pod('a', '10.0.0.1', { more: 'labels: { app: a }' }) + pod('b', '10.0.0.2', { more: 'labels: { app: b }' }))
  t.equal(now().empty, true)
  put(
    policy('named', '{ action: DENY, targetRefs: [{ group: "", kind: Service, name: s }], rules: [{}] }') +
      policy('selected', '{ selector: { matchLabels: { app: b } }, rules: [{}] }'),
  )
  const before = now()
  t.strictSame(before.policies, [], 'neither applies: nothing of it is behind the Service, and its label is another')

  put(service('other', 'a') + manifest('v1', 'Namespace', 'more', ''))
  t.equal(now(), before, 'a Service that nobody names is none of its business')

  const podOf = (app: string) => pod('a', '10.0.0.1', { more: `labels: { app: ${app} }` })
  put(podOf('a') + service('s', 'a'), { only: 'service' })
  t.strictSame(now().policies, ['shop/named'], 'it serves what is named now')
  put(podOf('b'), { only: 'workload' })
  t.strictSame(now().policies, ['shop/named', 'shop/selected'], 'its labels are others')
  put(podOf('b') + service('s', 'a'), { only: 'service' })
  t.strictSame(now().policies, ['shop/selected'], 'the endpoints are others')
  const selected = now()
  t.equal(put('').version, version)
  t.equal(now(), selected, 'nothing changed')
  put('', { remove: ['authorization-policy:shop/selected'] })
  t.strictSame(now().policies, [], 'the policy is gone')
  put(manifest('weir.dev/v1alpha1', 'AuthorizationPolicy', 'wide', 'spec: { rules: [{}] }', 'weir-system'))
  t.strictSame(now().policies, ['weir-system/wide'], 'one of the mesh is there')
})
