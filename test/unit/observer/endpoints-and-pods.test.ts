/** Endpoints that are slow or left out, pods that are not enrolled or say nothing, certificates, objects. */
import t from 'tap'
import type { EndpointSample } from '#observer'
import { edge, LOOK_MS, pod, START, Watched } from './looks.ts'

function endpoint(address: string, answers: number, meanMs: number): EndpointSample {
  return {
    service: 'shop/web:80',
    endpoint: address,
    pod: `shop/web-${address.at(-1)}`,
    answers,
    answersMs: answers * meanMs,
  }
}

t.test('an endpoint that is slower than its peers, by enough and often enough', async (t) => {
  const peers = [endpoint('10.0.0.1', 50, 4), endpoint('10.0.0.2', 50, 6)]
  const slow = { endpoints: [...peers, endpoint('10.0.0.3', 2, 90)] }
  const watched = new Watched()
  t.same(watched.look(slow, 2), [], 'four answers are too few')
  t.match(watched.look(slow, 4), [
    {
      kind: 'endpoint-slow',
      severity: 'warning',
      subject: 'shop/web:80 10.0.0.3',
      says: 'Endpoint 10.0.0.3 of Service shop/web:80 (pod shop/web-3) takes 90 ms to answer, its peers 5 ms',
    },
  ])
  t.equal(watched.look({ endpoints: [...peers, endpoint('10.0.0.3', 9, 40)] }, 3).length, 1)
  t.same(watched.look({ endpoints: [...peers, endpoint('10.0.0.3', 9, 6)] }, 6), [])
})

t.test('silent: all are slow, one is slower by little, and one alone', async (t) => {
  const look = (...endpoints: EndpointSample[]) => new Watched().look({ endpoints }, 6)
  t.same(look(endpoint('10.0.0.1', 50, 900), endpoint('10.0.0.2', 50, 950)), [])
  t.same(look(endpoint('10.0.0.1', 50, 1), endpoint('10.0.0.2', 50, 9)), [])
  t.same(look(endpoint('10.0.0.1', 50, 5000)), [])
})

t.test('ejected and unhealthy endpoints, and what failed there as their other side', async (t) => {
  const ejected = [{ service: 'shop/web:80', endpoint: '10.0.0.3:8080', callers: ['shop/client-1'] }]
  t.match(new Watched().look({ ejected }), [
    { kind: 'endpoint-ejected', next: 'weir explain --from shop/client-1 --to http://web.shop:80' },
  ])
  const edges = [edge('client', 'web', { failed: 50, reason: 'UF 503' })]
  const both = new Watched().look({ ejected, edges, pods: [pod('shop/client-1')] }, 6)
  t.match(both, [{ kind: 'error-rate' }])
  t.match(both[0]?.evidence.at(-1), /^So: Endpoint 10\.0\.0\.3:8080 .* gets no requests from shop\/client-1/)
  const unhealthy = [{ service: 'shop/web:80', endpoint: '10.0.0.3:8080', source: 'shop/client', why: 'answered 500' }]
  t.match(new Watched().look({ unhealthy, edges }, 6), [
    { kind: 'endpoint-unhealthy', severity: 'critical', says: /does not pass its health check: answered 500$/ },
  ])
  t.same(new Watched().look({}), [])
})

t.test('a pod that failed to enrol at once, one on its way after some looks', async (t) => {
  const failed = { pods: [pod('shop/a', { state: 'failed', detail: 'Pod shop/a: no such file' })] }
  t.match(new Watched().look(failed), [
    {
      kind: 'pod-not-enrolled',
      severity: 'critical',
      says: /is not in the mesh: no such file$/,
      next: 'weir pods shop/a',
    },
  ])
  const watched = new Watched()
  const enrolling = { pods: [pod('shop/a', { state: 'enrolling' })] }
  t.same(watched.look(enrolling, 2), [])
  t.match(watched.look(enrolling), [{ kind: 'pod-not-enrolled' }])
  t.same(watched.look({ pods: [pod('shop/a')] }), [])
})

t.test('a pod that never wrote a line, after some minutes; one that is not ready may be silent', async (t) => {
  const watched = new Watched()
  const silent = { pods: [pod('shop/a-1', { lastLogMs: 0 })] }
  t.same(watched.look(silent, 17), [])
  t.match(watched.look(silent), [
    { kind: 'pod-silent', severity: 'info', subject: 'shop/a', says: /^Pod shop\/a-1 has/ },
  ])
  t.same(watched.look({ pods: [pod('shop/a-1', { lastLogMs: START })] }), [])
  t.same(new Watched().look({ pods: [pod('shop/a-1', { lastLogMs: 0, isReady: false })] }, 36), [])
  t.same(new Watched().look({ pods: [pod('shop/a-1')] }, 36), [], 'nothing is known of its log')
})

t.test('a pod that writes no more although it is asked; one that nobody asks, or that seldom wrote, may', async (t) => {
  const at = (write: boolean, asked: boolean) => (look: number) => ({
    pods: [pod('shop/a-1', { lastLogMs: write ? START + look * LOOK_MS : START + 10 * LOOK_MS })],
    edges: asked ? [edge('web', 'a')] : [],
  })
  const watched = new Watched()
  watched.look(at(true, true), 11)
  t.same(watched.look(at(false, true), 5), [])
  t.match(watched.look(at(false, true), 2), [
    { kind: 'pod-silent', severity: 'warning', says: /writes no log any more/, next: 'weir logs shop/a-1' },
  ])
  t.equal(watched.look(at(false, true), 36).length, 1, 'as long as it lasts')
  t.same(watched.look(at(true, true)), [])
  const unasked = new Watched()
  unasked.look(at(true, true), 11)
  t.same(unasked.look(at(false, false), 12), [])
  t.same(new Watched().look(at(false, true), 36), [])
})

t.test('certificates: near their end, failing, ended; one cause is told once', async (t) => {
  const certificate = (identity: string, leftShare: number, state = 'valid' as 'valid' | 'failing' | 'expired') => {
    const ttlMs = 86_400_000
    return {
      identity,
      state,
      ttlMs,
      notAfterMs: START + ttlMs * leftShare,
      lastError: state === 'valid' ? '' : 'no CA',
    }
  }
  const look = (...certificates: ReturnType<typeof certificate>[]) => new Watched().look({ certificates })
  t.same(look(certificate('a', 0.45)), [])
  t.match(look(certificate('a', 0.24)), [
    { kind: 'certificate-expiry', severity: 'warning', says: 'The certificate of a ends in 6 h and was not renewed' },
  ])
  t.match(look(certificate('a', 0.04)), [{ severity: 'critical' }])
  t.match(look(certificate('a', -1, 'expired')), [{ severity: 'critical', says: /has ended: .*: no CA$/ }])
  const several = look(certificate('a', 0.4, 'failing'), certificate('b', 0.4, 'failing'))
  t.match(several, [{ severity: 'warning', says: /^The certificate of a and 1 more ends in 10 h/ }])
  t.equal(several.length, 1)
})

t.test('objects in error, once each; warnings are not told', async (t) => {
  const problem = (severity: 'error' | 'warning') => {
    return { severity, object: 'TrafficPolicy shop/x', place: 'x.yaml: TrafficPolicy shop/x', message: 'spec.y: odd' }
  }
  t.match(new Watched().look({ problems: [problem('error'), problem('error')] }), [
    { kind: 'invalid-object', severity: 'warning', subject: 'TrafficPolicy shop/x', next: 'weir check' },
  ])
  t.same(new Watched().look({ problems: [problem('warning')] }), [])
})
