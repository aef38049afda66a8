/** Each kind of finding names a command that the command line takes as it is printed. */
import t from 'tap'
import type { Finding, FindingKind } from '#contract'
import type { NodeLook } from '#observer'
import { runCli } from '../../../src/cli/cli.ts'
import { edge, LOOK_MS, pod, START, Watched, WORLD } from './looks.ts'

const EXIT_UNREACHABLE = 69
const NOBODY = { ...WORLD, podOf: () => undefined, urlOf: () => undefined }
const MIB = 1 << 20

const LEAKING = (at: number): Partial<NodeLook> => ({
  proxies: [
    {
      id: 0,
      isUp: true,
      missedPings: 0,
      restarts: 0,
      lagMs: 5,
      shedding: false,
      rssBytes: (80 + 30 * at) * MIB,
      cpuSeconds: 0,
    },
  ],
  edges: [edge('frontend', 'reviews', { meanMs: 20 + 20 * at })],
})

const CLOSED = { source: 'shop/client', why: 'answered 500' }

/** What is found in looks of a kind, where pods and logs are known and where they are not. */
const FAULTS: readonly Partial<NodeLook>[] = [
  { edges: [edge('frontend', 'reviews', { failed: 50 })], pods: [pod('shop/reviews-1', { lastLogMs: START })] },
  { edges: [edge('frontend', 'reviews', { failed: 50, reason: 'UF 503' })] },
  { edges: [edge('frontend', 'reviews', { denied: 50 })] },
  { edges: [edge('web', 'gone', { failed: 50, reason: 'UH 503' })], world: { ...WORLD, emptyServices: [empty()] } },
  { world: { ...WORLD, emptyServices: [empty()] } },
  { ejected: [{ service: 'shop/web:80', endpoint: '10.0.0.3:8080', callers: ['shop/client-1'] }] },
  { unhealthy: [{ service: 'shop/web:80', endpoint: '10.0.0.3:8080', ...CLOSED }] },
  { endpoints: [slow('10.0.0.1:80', 5), slow('10.0.0.2:80', 500)], pods: [pod('shop/slow-1', { lastLogMs: START })] },
  { problems: [{ severity: 'error', object: 'HTTPRoute shop/x', place: 'x.yaml', message: 'odd' }] },
  { problems: [{ severity: 'error', object: '', place: 'Cluster', message: 'odd' }] },
  { pods: [pod('shop/a', { state: 'failed', detail: 'no' }), pod('shop/b', { lastLogMs: 0 })] },
  { certificates: [{ identity: 'spiffe://x', state: 'expired', notAfterMs: START, ttlMs: LOOK_MS, lastError: '' }] },
  {
    proxies: [
      { id: 0, isUp: true, missedPings: 0, restarts: 0, lagMs: 500, shedding: true, rssBytes: MIB, cpuSeconds: 0 },
    ],
  },
  { node: { ...full(), cpuBusy: 1 } },
]

function empty() {
  return { service: 'shop/gone', unready: 0, routes: ['HTTPRoute shop/x'] }
}

function slow(endpoint: string, meanMs: number) {
  return { service: 'shop/web:80', endpoint, pod: 'shop/slow-1', answers: 50, answersMs: 50 * meanMs }
}

function full(): NodeLook['node'] {
  return {
    cpuBusy: 1,
    memoryTotalBytes: 100,
    memoryAvailableBytes: 1,
    diskTotalBytes: 100,
    diskAvailableBytes: 1,
    agentRssBytes: 1,
    agentLimitBytes: undefined,
  }
}

/** All that may be told. */
const KINDS = Object.keys({
  'endpoint-ejected': true,
  'endpoint-unhealthy': true,
  'endpoint-slow': true,
  'error-rate': true,
  'policy-denies': true,
  'certificate-expiry': true,
  'proxy-saturated': true,
  'proxy-restarted': true,
  'node-saturated': true,
  'memory-leak': true,
  'latency-leak': true,
  'no-endpoints': true,
  'invalid-route': true,
  'pod-not-enrolled': true,
  'pod-silent': true,
  'invalid-object': true,
} satisfies Record<FindingKind, true>)

function allFound(): readonly Finding[] {
  const restarted = new Watched()
  restarted.look()
  const proxies = [
    { id: 0, isUp: true, missedPings: 0, restarts: 1, lagMs: 5, shedding: false, rssBytes: MIB, cpuSeconds: 0 },
  ]
  return [
    ...FAULTS.flatMap((fault) => [
      ...new Watched().look(fault, 20),
      ...new Watched().look({ ...fault, world: { ...NOBODY, emptyServices: fault.world?.emptyServices ?? [] } }, 20),
    ]),
    ...new Watched().look(LEAKING, 24),
    ...restarted.look({ proxies }),
  ]
}

t.test('every kind is found, and every next command is one', async (t) => {
  const found = allFound()
  t.same([...new Set(found.map(({ kind }) => kind))].sort(), KINDS.sort())
  for (const next of new Set(found.map((finding) => finding.next))) {
    const [weir, ...argv] = next.split(' ')
    t.equal(weir, 'weir')
    let err = ''
    const code = await runCli([...argv, '--state-dir', '/nonexistent'], {
      out: () => {},
      err: (text) => {
        err += text
      },
      print: async () => true,
      isTerminal: false,
      runAgent: async () => 0,
      runCa: async () => 0,
      runUninstall: async () => 0,
      runPreflight: async () => [],
      annotatePod: async () => undefined,
      nowMs: () => 0,
    })
    t.equal(code, EXIT_UNREACHABLE, `${next}: ${err}`)
  }
})
