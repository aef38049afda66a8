import t from 'tap'
import type { Endpoint, LocalityPreference } from '#contract'
import { distribute, drawGroup, type Place } from '#routing'

const PLACES: Readonly<Record<string, Place>> = {
  a1: { node: 'n', region: 'eu', zone: 'a' },
  a2: { node: 'n', region: 'eu', zone: 'a' },
  b1: { node: 'n', region: 'eu', zone: 'b' },
  u1: { node: 'n', region: 'us', zone: 'a' },
}
const endpoints: readonly Endpoint[] = Object.keys(PLACES).map((name, index) => ({
  address: `10.0.0.${index}`,
  port: 80,
  ready: true,
  terminating: false,
  workload: name,
}))
const placeOf = ({ workload = '' }: Endpoint) => PLACES[workload]
const policy: LocalityPreference = {
  levels: ['Zone'],
  failoverPercent: 70,
  weights: [
    {
      from: { region: 'eu', zone: 'a' },
      to: [
        { place: { region: 'eu', zone: 'a' }, percent: 60 },
        { place: { region: 'us' }, percent: 40 },
      ],
    },
    { from: { region: 'eu', zone: 'b' }, to: [{ place: {}, percent: 100 }] },
  ],
}

function shares(caller: Place | undefined, available = endpoints): unknown {
  return distribute(policy, caller, endpoints, available, placeOf)?.map((group) => [
    Math.round(group.weight),
    group.endpoints.map(({ workload }) => workload).join(' '),
  ])
}

t.test('each place gets its share, and what is not named gets nothing', async (t) => {
  t.same(shares(PLACES['a1']), [
    [60, 'a1 a2'],
    [40, 'u1'],
  ])
  t.same(shares(PLACES['b1']), [[100, 'a1 a2 b1 u1']], 'anywhere is one place')
})

t.test('of callers that nothing is said of, nothing is said', async (t) => {
  t.equal(shares(PLACES['u1']), undefined)
  t.equal(shares({ node: 'n' }), undefined)
  t.equal(shares(undefined), undefined)
})

t.test('a place loses of its share what it cannot serve any more', async (t) => {
  const without = (...gone: readonly string[]) => endpoints.filter(({ workload = '' }) => !gone.includes(workload))
  // One of two is less than 70 %: 0.5 / 0.7 of the share is left.
  t.same(shares(PLACES['a1'], without('a2')), [
    [43, 'a1'],
    [40, 'u1'],
  ])
  t.same(shares(PLACES['a1'], without('u1')), [[60, 'a1 a2']])
  t.equal(shares(PLACES['a1'], without('a1', 'a2', 'u1')), undefined, 'rather than nobody, the nearest are asked')
})

t.test('a draw lands where the weights say', async (t) => {
  const groups = distribute(policy, PLACES['a1'], endpoints, endpoints, placeOf) ?? []
  const names = (draw: number) => drawGroup(groups, draw).map(({ workload }) => workload)
  t.same(names(0), ['a1', 'a2'])
  t.same(names(0.599), ['a1', 'a2'])
  t.same(names(0.601), ['u1'])
  t.same(names(0.999999), ['u1'])
})
