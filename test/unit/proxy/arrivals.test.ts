import t from 'tap'
import { Arrivals } from '../../../src/proxy/arrivals.ts'

t.test('an address may have so many handshakes under way, and strangers elsewhere are not concerned', (t) => {
  const arrivals = new Arrivals()
  const held = Array.from({ length: 32 }, () => arrivals.begin('10.0.0.1'))
  t.match(arrivals.refusal('10.0.0.1'), /^10\.0\.0\.1 has too many handshakes under way$/)
  t.equal(arrivals.refusal('10.0.0.2'), undefined)
  held[0]?.verified()
  t.equal(arrivals.refusal('10.0.0.1'), undefined, 'a verified one makes room')
  arrivals.begin('10.0.0.1')
  held[1]?.over()
  held[1]?.over()
  t.equal(arrivals.refusal('10.0.0.1'), undefined, 'and one that is gone, once')
  arrivals.begin('10.0.0.1')
  t.match(arrivals.refusal('10.0.0.1'), /handshakes/)
  t.end()
})

t.test('all strangers together are bounded, and verified peers do not count there', (t) => {
  const arrivals = new Arrivals()
  const held = Array.from({ length: 1024 }, (_, i) => arrivals.begin(`10.0.${i >> 4}.${i & 15}`))
  t.equal(arrivals.refusal('10.9.9.9'), 'too many handshakes are under way')
  for (const arrival of held) arrival.verified()
  t.equal(arrivals.refusal('10.9.9.9'), undefined)
  t.equal(arrivals.size, 1024)
  for (const arrival of held) arrival.over()
  t.equal(arrivals.size, 0)
  t.end()
})

t.test('an address holds so many tunnels and no more', (t) => {
  const arrivals = new Arrivals()
  const held = Array.from({ length: 256 }, () => {
    const arrival = arrivals.begin('10.0.0.1')
    arrival.verified()
    return arrival
  })
  t.equal(arrivals.refusal('10.0.0.1'), '10.0.0.1 holds too many tunnels')
  held[0]?.over()
  t.equal(arrivals.refusal('10.0.0.1'), undefined)
  t.end()
})
