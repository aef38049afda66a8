/**
 * Cases `many-routes` and `many-policies`: one hop through Weir where a Service has 1,000 HTTPRoutes, or a pod 1,000
 * AuthorizationPolicies, of 10 rules each, beside the same with 10 of them. `weir` is the one with 1,000.
 */
import { type Lab, openLab } from '../support/lab.ts'
import { type Contender, compare } from './compare.ts'
import { BACKEND_PORT, startBackend } from './peers.ts'
import type { BenchOptions, BenchRow } from './rows.ts'
import { pidsOf } from './weir-peer.ts'

const RULES = 10
const FEW = 10
const MANY = 1000
/** Of the last rule that both have. */
const PATH = `/api/${FEW - 1}/${RULES - 1}/x`

function list<T>(length: number, make: (i: number) => T): T[] {
  return Array.from({ length }, (_, i) => make(i))
}

function routes(count: number): unknown[] {
  return list(count, (i) => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: `web-${i}`, namespace: 'bench' },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
      rules: list(RULES, (rule) => ({
        matches: [{ path: { type: 'PathPrefix', value: `/api/${i}/${rule}` } }],
        backendRefs: [{ name: 'web', port: 80 }],
      })),
    },
  }))
}

/** All select the server's pod, and each rule allows one caller one path. */
function policies(count: number): unknown[] {
  return list(count, (i) => ({
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `web-${i}`, namespace: 'bench' },
    spec: {
      selector: { matchLabels: { app: 'web' } },
      rules: list(RULES, (rule) => ({
        from: [
          {
            source: {
              principals: [
                `cluster.local/ns/bench/sa/${`/api/${i}/${rule}/x` === PATH ? 'client' : `other-${i}-${rule}`}`,
              ],
            },
          },
        ],
        to: [{ operation: { methods: ['GET'], paths: [`/api/${i}/${rule}/*`] } }],
      })),
    },
  }))
}

async function start(lab: Lab, name: string, objects: readonly unknown[]): Promise<Contender> {
  const pod = (podName: string) =>
    lab.addPod({
      name: podName,
      namespace: 'bench',
      serviceAccount: podName,
      labels: { app: podName },
      ports: [{ name: 'http', containerPort: BACKEND_PORT }],
      optedIn: true,
    })
  const client = await pod('client')
  const web = await pod('web')
  await startBackend(web, lab.dir)
  const { ipv4 } = lab.addService({
    name: 'web',
    namespace: 'bench',
    selector: { app: 'web' },
    ports: [{ name: 'http', port: 80, targetPort: BACKEND_PORT }],
  })
  lab.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'), 'many.yaml')
  const agent = await lab.startAgent({ proxies: 1, extraArgs: ['--access-log', 'off'], waitReady: false })
  await agent.waitFor('ready', { timeoutMs: 120_000 })
  const url = `http://${ipv4}${PATH}`
  const { status } = await client.curl(url)
  if (status !== 200) throw new Error(`${url} answered ${status} with ${objects.length} objects`)
  return { host: client, peer: { name, url, pids: await pidsOf(agent) } }
}

async function many(name: string, make: (count: number) => unknown[], options: BenchOptions): Promise<BenchRow[]> {
  await using large = await openLab({ ipv6: false })
  await using small = await openLab({ ipv6: false })
  const contenders = [await start(large, 'weir', make(MANY)), await start(small, `weir, ${FEW}`, make(FEW))]
  return await compare(name, contenders, options)
}

export function manyRoutes(options: BenchOptions): Promise<BenchRow[]> {
  return many('many-routes', routes, options)
}

export function manyPolicies(options: BenchOptions): Promise<BenchRow[]> {
  return many('many-policies', policies, options)
}
