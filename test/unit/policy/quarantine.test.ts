import t from 'tap'
import type { Workload } from '#contract'
import { quarantineDenial } from '#policy'
import { workload } from './policy-builders.ts'

const cut = (allow: readonly string[]): Workload => ({ ...workload(), quarantine: { allow } })

t.test('without quarantine, or without a pod, it says nothing', async (t) => {
  t.equal(quarantineDenial(undefined, '10.0.0.1'), undefined)
  t.equal(quarantineDenial(workload(), '10.0.0.1'), undefined)
})

t.test('only who is in an allowed block passes, of either family', async (t) => {
  const pod = cut(['10.0.0.5/32', '192.168.0.0/16', 'fd00::/64'])
  const table: readonly (readonly [string, boolean])[] = [
    ['10.0.0.5', true],
    ['::ffff:10.0.0.5', true],
    ['10.0.0.6', false],
    ['192.168.255.255', true],
    ['192.169.0.0', false],
    ['fd00::1', true],
    ['fd00:0:0:1::1', false],
    ['', false],
    ['nonsense', false],
  ]
  for (const [ip, passes] of table) t.equal(quarantineDenial(pod, ip) === undefined, passes, ip)
})

t.test('the reason names the pod, who is allowed, and a value that cannot be read', async (t) => {
  const { namespace, name } = workload()
  t.same(quarantineDenial(cut([]), '10.0.0.1'), {
    kind: 'deny',
    policy: `Quarantine ${namespace}/${name}`,
    reason: `Pod ${namespace}/${name} is in quarantine: nobody may speak with it`,
  })
  const doubtful = { ...workload(), quarantine: { allow: [], doubtful: true } } as const
  t.match(quarantineDenial(doubtful, '10.0.0.1'), { reason: /the value of weir\.dev\/quarantine cannot be read/ })
})
