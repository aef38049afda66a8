/** A small shop behind the admin API: two versions of reviews, a canary route, a policy. */
import type { AlertsAnswer, CheckLine, DiagnoseAnswer, HttpRoute, MeshObject, MeshService, Workload } from '#contract'
import { World } from '#mesh'
import { Metrics } from '#telemetry'
import type {
  AdminBackend,
  AgentStatus,
  IdentityState,
  PeerAuthenticationStatus,
  PodStatus,
  Problem,
} from '../../../agent/admin/backend.ts'

export function workload(name: string, address: string, changes: Partial<Workload> = {}): Workload {
  return {
    kind: 'workload',
    namespace: 'shop',
    name,
    uid: `uid-${name}`,
    serviceAccount: name.replace(/-\d+$/, ''),
    labels: { app: name.replace(/-.*$/, '') },
    addresses: [address],
    node: 'node-1',
    hostNetwork: false,
    optedIn: true,
    ready: true,
    terminating: false,
    owner: name,
    app: name,
    version: 'v1',
    hostAddresses: [],
    probes: [],
    ...changes,
  }
}

function service(name: string, addresses: readonly string[], endpoints: readonly [string, string][]): MeshService {
  return {
    kind: 'service',
    namespace: 'shop',
    name,
    addresses,
    ports: [{ name: 'http', port: 80, protocol: 'http' }],
    endpoints: {
      80: endpoints.map(([pod, address]) => {
        return { address, port: 8080, ready: true, terminating: false, workload: `shop/${pod}` }
      }),
    },
    sliced: false,
  }
}

const ANY = { type: 'PathPrefix', value: '/' } as const
const CANARY = { name: 'x-canary', match: { type: 'Exact', value: 'yes' } } as const

function backend(name: string, weight: number) {
  return { weight, filters: [], service: { namespace: 'shop', name, port: 80 } }
}

const ROUTE: HttpRoute = {
  kind: 'http-route',
  namespace: 'shop',
  name: 'reviews',
  createdAt: '2026-01-01T00:00:00Z',
  parents: [{ service: { namespace: 'shop', name: 'reviews' } }],
  hostnames: [],
  rules: [
    {
      name: 'canary',
      matches: [{ path: ANY, headers: [CANARY], query: [] }],
      filters: [],
      backends: [backend('reviews-v2', 1)],
    },
    {
      name: 'split',
      matches: [{ path: ANY, headers: [], query: [] }],
      filters: [],
      backends: [backend('reviews-v1', 90), backend('reviews-v2', 10), backend('missing', 0)],
    },
  ],
}

export const SHOP: readonly MeshObject[] = [
  { kind: 'namespace', namespace: '', name: 'shop', labels: {} },
  workload('web-1', '10.1.0.2'),
  workload('cron-1', '10.1.0.3', { optedIn: false, serviceAccount: 'web' }),
  workload('reviews-v1-1', '10.1.0.4'),
  workload('reviews-v2-1', '10.1.0.5'),
  service('reviews', ['10.9.0.1', 'fd00:9::1'], []),
  service('reviews-v1', ['10.9.0.2'], [['reviews-v1-1', '10.1.0.4']]),
  service('reviews-v2', ['10.9.0.3'], [['reviews-v2-1', '10.1.0.5']]),
  service('headless', [], [['reviews-v1-1', '10.1.0.4']]),
  ROUTE,
  {
    kind: 'authorization-policy',
    namespace: 'shop',
    name: 'only-web',
    scope: 'namespace',
    selector: {},
    services: [],
    action: 'ALLOW',
    rules: [
      {
        from: [{ principals: ['cluster.local/ns/shop/sa/web'] }],
        to: [{ methods: ['GET'] }],
      },
    ],
  },
]

export class FakeBackend implements AdminBackend {
  ready = true
  readonly world = new World()
  problemList: Problem[] = []
  doctorLines: CheckLine[] = []
  diagnosis: DiagnoseAnswer | undefined
  peerAuthenticationList: PeerAuthenticationStatus[] = []
  identityList: IdentityState[] = [
    {
      spiffeId: 'spiffe://cluster.local/ns/shop/sa/web',
      state: 'valid',
      serial: 'AB12',
      notAfterMs: 1_010_000 + 11.5 * 3_600_000,
      failingSinceMs: 0,
      lastError: '',
    },
  ]
  podList: PodStatus[] = [
    {
      namespace: 'shop',
      name: 'web-1',
      uid: 'uid-web-1',
      serviceAccount: 'web',
      node: 'node-1',
      addresses: ['10.1.0.2'],
      optedIn: true,
      state: 'enrolled',
      detail: '',
      verifiedAt: 1_000_000,
      repairs: 0,
      proxies: [0],
      connections: 3,
      requestsInFlight: 1,
    },
  ]

  constructor() {
    this.world.apply({ version: 1, reset: true, upsert: SHOP, remove: [] })
  }

  get snapshot() {
    return this.world.snapshot
  }

  async status(): Promise<AgentStatus> {
    return {
      node: 'node-1',
      version: '0.1.0',
      pid: 7,
      trustDomain: 'cluster.local',
      source: 'directory /etc/shop',
      startedAt: 0,
      ready: this.ready,
      worldVersion: 1,
      optedInPods: 1,
      enrolledPods: 1,
      repairs: 0,
      problems: this.problemList.length,
      ejections: [],
      unhealthy: [],
      quarantined: [],
      eventLoopLagMs: 2,
      proxies: [
        {
          id: 0,
          state: 'up',
          pid: 8,
          restarts: 0,
          worldVersion: 1,
          rssBytes: 60 << 20,
          eventLoopLagMs: 0.25,
          shedding: false,
          taps: 0,
          pods: 1,
          connections: 3,
          requestsInFlight: 1,
        },
      ],
      issuer: 'own key, in memory',
      identities: this.identityList,
      certificateFailures: 4,
    }
  }

  async pods(): Promise<readonly PodStatus[]> {
    return this.podList
  }

  peerAuthentications(): readonly PeerAuthenticationStatus[] {
    return this.peerAuthenticationList
  }

  problems(): readonly Problem[] {
    return this.problemList
  }

  async kernelRules(uid: string) {
    return uid === 'uid-web-1' ? [{ family: 4 as const, text: '*nat\n-A OUTPUT -j WEIR_OUTPUT\nCOMMIT' }] : undefined
  }

  asksOwnDns(): boolean {
    return false
  }

  alerts(): AlertsAnswer {
    return { node: this.node, file: '', readMs: 0, rules: [], alerts: [] }
  }

  async diagnose(): Promise<DiagnoseAnswer | undefined> {
    return this.diagnosis
  }

  async doctor(): Promise<readonly CheckLine[]> {
    return this.doctorLines
  }

  readonly node = 'node-1'

  async traffic() {
    return []
  }

  async metrics() {
    const metrics = new Metrics()
    metrics.counter({ name: 'shop_orders_total', help: 'Orders.', labels: [] }).handle({}).inc(2)
    return [metrics.snapshot(), metrics.snapshot()]
  }

  config(): Readonly<Record<string, unknown>> {
    return { node: 'node-1', proxies: 1, joinToken: 'do-not-show' }
  }
}
