import t from 'tap'
import type { Endpoint } from '#contract'
import { EndpointLoads } from '../../../src/proxy/endpoint-loads.ts'
import { observeLatency } from '../../../src/routing/endpoint-load.ts'

const endpoint = (address: string, port = 80): Endpoint => ({ address, port }) as Endpoint

t.test('an address and port have one load, whatever Service lists them', async (t) => {
  const loads = new EndpointLoads(() => 0)
  t.equal(loads.of(endpoint('10.0.0.1')), loads.of(endpoint('10.0.0.1')))
  t.not(loads.of(endpoint('10.0.0.1')), loads.of(endpoint('10.0.0.1', 81)))
})

t.test('what endpoints took is told once, those with most answers first', async (t) => {
  const loads = new EndpointLoads(() => 0)
  observeLatency(loads.of(endpoint('10.0.0.1')), 5, 1)
  for (let i = 0; i < 2; i++) observeLatency(loads.of(endpoint('fd00::1')), 7, 1)
  loads.of(endpoint('10.0.0.2'))
  t.strictSame(loads.takeLatencies(), [
    { endpoint: '[fd00::1]:80', answers: 2, answersMs: 14 },
    { endpoint: '10.0.0.1:80', answers: 1, answersMs: 5 },
  ])
  t.strictSame(loads.takeLatencies(), [])
})

t.test('once there are many, those of endpoints without a request in progress are forgotten', async (t) => {
  const loads = new EndpointLoads(() => 0)
  for (let port = 0; port <= 4096; port++) loads.of(endpoint('10.0.0.1', port))
  const busy = loads.of(endpoint('10.0.0.1', 7))
  const idle = loads.of(endpoint('10.0.0.1', 8))
  busy.active = 1
  loads.sweep()
  t.equal(loads.of(endpoint('10.0.0.1', 7)), busy)
  t.not(loads.of(endpoint('10.0.0.1', 8)), idle)
})
