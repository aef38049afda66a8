/** The admin API's paths: each asks the backend and renders the answer. No HTTP here. */

import type { TrafficAnswer } from '#contract'
import { mergeFamilies, PROMETHEUS_CONTENT_TYPE, renderPrometheus } from '#telemetry'
import type { AdminBackend } from './backend.ts'
import { explain } from './explain.ts'
import { readExplainQuery } from './explain-query.ts'
import { viewPod } from './pod-view.ts'
import type { Reply } from './reply.ts'
import { errorReply, jsonReply, textReply } from './reply.ts'
import { STREAMS } from './streams.ts'
import { byName, listPolicies, listRoutes } from './world-listing.ts'

type Answer = (backend: AdminBackend, query: URLSearchParams) => Reply | Promise<Reply>

const PATHS: ReadonlyMap<string, Answer> = new Map<string, Answer>([
  ['/healthz/live', () => textReply('ok\n')],
  ['/healthz/ready', (backend) => (backend.ready ? textReply('ok\n') : textReply('not ready\n', 503))],
  ['/metrics', metricsReply],
  ['/traffic', async (backend) => jsonReply(await trafficOf(backend))],
  ['/config', (backend) => jsonReply(withoutSecrets(backend.config()))],
  ['/status', async (backend) => jsonReply(await backend.status())],
  ['/pods', async (backend) => jsonReply((await backend.pods()).toSorted(byName))],
  ['/problems', (backend) => jsonReply(backend.problems())],
  ['/doctor', async (backend) => jsonReply(await backend.doctor())],
  ['/diagnose', diagnoseReply],
  ['/alerts', (backend) => jsonReply(backend.alerts())],
  ['/routes', (backend) => jsonReply(listRoutes(backend.snapshot))],
  ['/policies', (backend) => jsonReply(listPolicies(backend.snapshot, backend.peerAuthentications()))],
  ['/explain', explainReply],
  // Browsers do not say why a WebSocket was refused: asked so, it is told.
  ...Array.from(STREAMS, ([path, stream]): [string, Answer] => [
    path,
    async (backend, query) => {
      const begin = await stream.prepare(backend, query)
      return typeof begin === 'function' ? errorReply(426, `${path} is a WebSocket; ${stream.verb} asks it`) : begin
    },
  ]),
])

const POD_PATH = /^\/pods\/([^/]+)\/([^/]+)$/

async function podReply(backend: AdminBackend, namespace: string, name: string): Promise<Reply> {
  const pod = await viewPod(backend, namespace, name)
  return pod === undefined ? errorReply(404, `No pod ${namespace}/${name}; weir pods --all has them`) : jsonReply(pod)
}

/** `path` without query. Rejects only for what the backend throws. */
export async function answerPath(backend: AdminBackend, path: string, query: URLSearchParams): Promise<Reply> {
  const [, namespace, name] = POD_PATH.exec(path) ?? []
  if (namespace !== undefined && name !== undefined) return await podReply(backend, namespace, name)
  const answer = PATHS.get(path)
  if (answer === undefined) return errorReply(404, `No such path; there are ${[...PATHS.keys()].join(', ')}`)
  return answer(backend, query)
}

/** What the proxies have counted of traffic until now: two such answers make a rate. */
async function trafficOf(backend: AdminBackend): Promise<TrafficAnswer> {
  const families = mergeFamilies(await backend.traffic()).filter(({ name }) => name.startsWith('istio_'))
  return { node: backend.node, atMs: performance.now(), families }
}

async function diagnoseReply(backend: AdminBackend): Promise<Reply> {
  const answer = await backend.diagnose()
  return answer === undefined
    ? errorReply(503, 'The agent is starting, and has not looked yet; ask again')
    : jsonReply(answer)
}

/** `?format=json` gives the same families as JSON. */
async function metricsReply(backend: AdminBackend, query: URLSearchParams): Promise<Reply> {
  const families = mergeFamilies(await backend.metrics())
  if (query.get('format') === 'json') return jsonReply({ families })
  return textReply(renderPrometheus(families), 200, PROMETHEUS_CONTENT_TYPE)
}

async function explainReply(backend: AdminBackend, query: URLSearchParams): Promise<Reply> {
  const asked = readExplainQuery(query)
  if (typeof asked === 'string') return errorReply(400, asked)
  const { trustDomain, identities, ejections, unhealthy } = await backend.status()
  const asksOwnDns = (uid: string) => backend.asksOwnDns(uid)
  const found = explain(backend.snapshot, trustDomain, asked, {
    identities,
    asksOwnDns,
    ejections,
    unhealthy,
    outboundTrafficPolicy:
      backend.config()['outboundTrafficPolicy'] === 'REGISTRY_ONLY' ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
  })
  return typeof found === 'string' ? errorReply(404, found) : jsonReply(found)
}

const SECRET_NAME = /token|secret|password|privatekey|credential/i

/** A second fence: the configuration holds paths, not secrets, but a field named like one is never shown. */
function withoutSecrets(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => [name, SECRET_NAME.test(name) ? '(not shown)' : value]),
  )
}
