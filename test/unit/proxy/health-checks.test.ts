/** How many health checks there are at a time, with endpoints of which none answers. */
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { MeshService, TrafficPolicy } from '#contract'
import { PROXY_LIMITS_DEFAULT } from '#contract'
import { Metrics } from '#telemetry'
import { HealthChecks } from '../../../src/proxy/health/health-checks.ts'
import { endpoint, service, worldOf } from '../routing/mesh-fixture.ts'
import { fakeExchange } from './fake-exchange.ts'

const policy: TrafficPolicy = {
  kind: 'traffic-policy',
  namespace: 'shop',
  name: 'web',
  createdAt: '',
  services: ['web'],
  rateLimits: [],
  healthChecks: [
    {
      probe: { type: 'TCP' },
      intervalMs: 100,
      jitterMs: 0,
      timeoutMs: 60_000,
      unhealthyThreshold: 1,
      healthyThreshold: 1,
    },
  ],
}

function web(count: number, first = 0): MeshService {
  const endpoints = Array.from({ length: count }, (_, index) => endpoint(`10.0.${first}.${index}`))
  return service('shop/web', { endpoints: { '80': endpoints } })
}

/** Checks of a Service's endpoints for one pod; none of the dials is ever answered. */
function checksOf(t: Test, endpoints: MeshService, clock: () => number) {
  const { pod, target } = fakeExchange({}, {})
  const world = worldOf(endpoints, policy)
  const asked: string[] = []
  const host = {
    get snapshot() {
      return world.snapshot
    },
    limits: PROXY_LIMITS_DEFAULT,
    now: clock,
    errorText: String,
    targets: {
      outbound: (...[, , , { address }]: readonly [unknown, unknown, unknown, { readonly address: string }]) => {
        const dialer = { dial: () => asked.push(address) }
        return { ...target, pool: Object.assign(Object.create(target.pool) as typeof target.pool, { dialer }) }
      },
    },
  }
  const checks = new HealthChecks(host, new Metrics(), () => {})
  t.teardown(() => checks.close())
  const use = checks.useOf(pod, 'shop/client', endpoints, 80)
  if (use === undefined) throw new Error('nothing is checked')
  return { asked, checks, use, world }
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 500) throw new Error('it never comes')
    await delay(10)
  }
}

t.test('nothing is asked before somebody uses the Service', async (t) => {
  const { asked, checks, use } = checksOf(t, web(3), () => performance.now())
  await delay(150)
  t.equal(asked.length, 0)
  use.view(performance.now())
  await until(() => asked.length === 3)
  t.same(checks.unhealthy(), [])
})

t.test('no more than 64 are in progress; what goes makes room', async (t) => {
  const { asked, checks, use, world } = checksOf(t, web(200), () => performance.now())
  use.view(performance.now())
  await until(() => asked.length === 64)
  await delay(150)
  t.equal(asked.length, 64)
  world.apply({ version: 2, reset: false, upsert: [web(200, 1)], remove: [] })
  checks.follow()
  await until(() => asked.length === 128)
  await delay(150)
  t.equal(asked.length, 128)
  t.ok(
    asked.slice(64).every((address) => address.startsWith('10.0.1.')),
    'those that are gone are asked no more',
  )
})

t.test('one begins at a time, and the next one ten milliseconds later', async (t) => {
  let now = 0
  const { asked, use } = checksOf(t, web(20), () => now)
  use.view(now)
  await until(() => asked.length === 1)
  await delay(200)
  t.equal(asked.length, 1, 'its clock stands still')
  now = 1_000
  await until(() => asked.length === 2)
  await delay(100)
  t.equal(asked.length, 2, 'what was missed is not made up for')
})
