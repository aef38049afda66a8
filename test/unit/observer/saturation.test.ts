/** Proxies and nodes that are full: from when on, until when, and not before. */
import t from 'tap'
import type { NodeSample, ProxySample } from '#observer'
import { Watched } from './looks.ts'

function proxy(changes: Partial<ProxySample> = {}): { readonly proxies: readonly ProxySample[] } {
  const quiet = {
    id: 0,
    isUp: true,
    missedPings: 0,
    restarts: 0,
    lagMs: 5,
    shedding: false,
    rssBytes: 80 << 20,
    cpuSeconds: undefined,
  }
  return { proxies: [{ ...quiet, ...changes }] }
}

function node(changes: Partial<NodeSample>): { readonly node: NodeSample } {
  const [total, disk] = [8 * 2 ** 30, 100 * 2 ** 30]
  return {
    node: {
      cpuBusy: 0.2,
      memoryTotalBytes: total,
      memoryAvailableBytes: total / 2,
      diskTotalBytes: disk,
      diskAvailableBytes: disk / 2,
      agentRssBytes: 90 << 20,
      agentLimitBytes: undefined,
      ...changes,
    },
  }
}

t.test('a proxy that sheds load is critical at once', async (t) => {
  t.match(new Watched().look(proxy({ shedding: true, lagMs: 600 })), [
    { kind: 'proxy-saturated', severity: 'critical', subject: 'proxy 0', next: 'weir top --sort requests' },
  ])
})

t.test('a proxy that has not answered for ten seconds is critical', async (t) => {
  t.match(new Watched().look(proxy({ missedPings: 2 })), [
    { kind: 'proxy-saturated', severity: 'critical', says: /gives no answer/ },
  ])
  t.same(new Watched().look(proxy({ missedPings: 1 })), [])
})

t.test('a proxy that lags is told after three looks, down to a lower lag; one that lagged once is not', async (t) => {
  const watched = new Watched()
  t.same(watched.look(proxy({ lagMs: 150 }), 2), [])
  t.match(watched.look(proxy({ lagMs: 150 })), [{ kind: 'proxy-saturated', severity: 'warning' }])
  t.equal(watched.look(proxy({ lagMs: 60 }), 5).length, 1)
  t.same(watched.look(proxy({ lagMs: 40 })), [])
  t.same(watched.look(proxy({ lagMs: 60 }), 5), [])
})

t.test('a proxy that uses up its processor is told; one that was started again is not taken for it', async (t) => {
  const busy = (share: number) => (at: number) => proxy({ cpuSeconds: at * 10 * share })
  t.match(new Watched().look(busy(0.97), 4), [{ kind: 'proxy-saturated', says: /uses up its processor/ }])
  t.same(new Watched().look(busy(0.7), 20), [])
})

t.test('a proxy that ended is told, until it is long ago', async (t) => {
  const watched = new Watched()
  watched.look(proxy(), 3)
  t.match(watched.look(proxy({ isUp: false, restarts: 1 })), [{ kind: 'proxy-restarted', severity: 'critical' }])
  t.match(watched.look(proxy({ restarts: 1 })), [{ severity: 'warning', says: /ended once and was started again/ }])
  t.same(watched.look(proxy({ restarts: 1 }), 36), [])
  t.same(new Watched().look(proxy({ restarts: 5 }), 3), [], 'what was before the first look is not told')
})

t.test('processors in use for a minute are told, for a shorter time not', async (t) => {
  const watched = new Watched()
  t.same(watched.look(node({ cpuBusy: 1 }), 5), [])
  t.match(watched.look(node({ cpuBusy: 1 })), [{ kind: 'node-saturated', subject: 'processors', severity: 'warning' }])
  t.equal(watched.look(node({ cpuBusy: 0.92 }), 12).length, 1)
  t.same(watched.look(node({ cpuBusy: 0.85 }), 12), [])
  t.same(watched.look(node({ cpuBusy: 0.92 }), 12), [])
})

t.test('memory and disk: a warning, then critical; silent while there is enough', async (t) => {
  const gib = 2 ** 30
  t.match(new Watched().look(node({ memoryAvailableBytes: 0.3 * gib })), [{ subject: 'memory', severity: 'warning' }])
  t.match(new Watched().look(node({ memoryAvailableBytes: 0.1 * gib })), [{ subject: 'memory', severity: 'critical' }])
  t.same(new Watched().look(node({ memoryAvailableBytes: 0.5 * gib })), [])
  t.match(new Watched().look(node({ diskAvailableBytes: 4 * gib })), [{ subject: 'disk', severity: 'warning' }])
  t.match(new Watched().look(node({ diskAvailableBytes: 0 })), [{ subject: 'disk', severity: 'critical' }])
  t.same(new Watched().look(node({ diskAvailableBytes: 6 * gib })), [])
  const watched = new Watched()
  watched.look(node({ diskAvailableBytes: 4 * gib }))
  t.equal(watched.look(node({ diskAvailableBytes: 6 * gib })).length, 1, 'it is told until there is clearly more')
})

t.test('a proxy that lags on a node that is full is told there', async (t) => {
  const found = new Watched().look({ ...proxy({ lagMs: 200 }), ...node({ cpuBusy: 1 }) }, 6)
  t.match(found, [{ kind: 'node-saturated' }])
  t.match(found[0]?.evidence.at(-1), /^So: Proxy 0 of this node is late/)
})
