/** Between proxies and readers of /tap. */
import t from 'tap'
import type { TapSpec } from '#contract'
import type { TapQuery } from '../../../agent/admin/backend.ts'
import { TapDesk, type TappedProxies } from '../../../agent/observe/tap-desk.ts'
import { NO_FILTER } from '../proxy/fake-tap.ts'

class FakeProxies implements TappedProxies {
  readonly open = new Map<number, TapSpec>()
  ids: readonly number[] = [0, 1]
  onTapped: TappedProxies['onTapped'] = () => {}

  openTap(id: number, spec: TapSpec): readonly number[] {
    this.open.set(id, spec)
    return this.ids
  }

  closeTap(id: number): void {
    this.open.delete(id)
  }

  tell(proxyId: number, id: number, events: readonly string[], lost = { rate: 0, slow: 0 }): void {
    this.onTapped(proxyId, { type: 'tapped', id, events, lost })
  }
}

const QUERY: TapQuery = { filter: NO_FILTER, showHeaders: false, limit: 0, maxPerSecond: 200 }

function start(query: Partial<TapQuery> = {}) {
  const proxies = new FakeProxies()
  const desk = new TapDesk(proxies, 'node-1', { enabled: true, redact: ['x-tenant'], showQueries: false })
  const open = () => {
    const frames: string[] = []
    const ended: string[] = []
    const reading = desk.open(
      { ...QUERY, ...query },
      { frame: (text) => frames.push(text), ended: (problem) => ended.push(problem) },
    )
    const events = () =>
      frames
        .join('')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line))
    return { reading, frames, ended, events }
  }
  return { proxies, open }
}

t.test('what the agent redacts is told to the proxies; a reader is live once all of them look', async (t) => {
  const { proxies, open } = start({ showHeaders: true })
  const { reading, events } = open()
  t.match(proxies.open.get(1), { redact: ['x-tenant'], showQueries: false, showHeaders: true, maxPerSecond: 200 })
  proxies.tell(0, 1, [])
  t.same(events(), [])
  proxies.tell(1, 1, [])
  t.same(events(), [{ kind: 'live', node: 'node-1' }])
  proxies.tell(1, 1, [])
  t.equal(events().length, 1, 'told once')
  reading.close()
  t.equal(proxies.open.size, 0)
})

t.test('events go to their reader alone, with what was lost on the way', async (t) => {
  const { proxies, open } = start()
  proxies.ids = []
  const [one, two] = [open(), open()]
  proxies.tell(0, 1, ['{"kind":"request","path":"/a"}'], { rate: 3, slow: 4 })
  proxies.tell(1, 2, ['{"kind":"connection"}'])
  proxies.tell(1, 9, ['{"kind":"connection"}'])
  t.match(one.events(), [
    { kind: 'live' },
    { kind: 'request', path: '/a' },
    { kind: 'lost', events: 4, why: 'slow' },
    { kind: 'lost', events: 3, why: 'rate' },
  ])
  t.match(two.events(), [{ kind: 'live' }, { kind: 'connection' }])
  for (const { reading } of [one, two]) reading.close()
})

t.test('after its limit a tap ends, in the proxies too', async (t) => {
  const { proxies, open } = start({ limit: 2 })
  proxies.ids = []
  const { events, ended } = open()
  proxies.tell(0, 1, ['{"n":1}', '{"n":2}', '{"n":3}'])
  await Promise.resolve()
  t.match(events(), [{ kind: 'live' }, { n: 1 }, { n: 2 }])
  t.same(ended, [''])
  t.equal(proxies.open.size, 0)
})

t.test('a reader that takes nothing makes events wait up to a bound; it is told how many are missing', async (t) => {
  const { proxies, open } = start()
  proxies.ids = []
  const { reading, frames, events } = open()
  const event = JSON.stringify({ kind: 'request', path: 'a'.repeat(1000) })
  const count = 2_000
  for (let i = 0; i < count; i++) proxies.tell(0, 1, [event])
  t.ok(frames.length <= 4, 'no more than four frames are under way')
  for (let taken = 0; taken < frames.length; taken++) reading.acknowledge()
  const got = events()
  const lost = got.find(({ kind }) => kind === 'lost')
  t.match(lost, { kind: 'lost', why: 'slow' })
  t.ok(lost.events > 1_000, 'most of it')
  t.equal(got.filter(({ kind }) => kind === 'request').length + lost.events, count)
  reading.close()
})

t.test('what no proxy of ours says is not passed on', async (t) => {
  const { proxies, open } = start()
  proxies.ids = []
  const { reading, events } = open()
  const strange = ['{"a":1}\n{"kind":"problem"}', 'x'.repeat(300_000), 7 as unknown as string, '{"kind":"request"}']
  proxies.tell(0, 1, strange)
  t.match(events(), [{ kind: 'live' }, { kind: 'request' }])
  reading.close()
})

t.test('there are as many taps as there may be', async (t) => {
  const { proxies, open } = start()
  proxies.ids = []
  const taps = Array.from({ length: 16 }, open)
  const next = open()
  t.match(next.ended, [/^There are 16 taps already/])
  t.equal(proxies.open.size, 16)
  taps[0]?.reading.close()
  t.same(open().ended, [], 'and one more when one has ended')
})
