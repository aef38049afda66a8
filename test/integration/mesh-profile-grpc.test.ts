/**
 * The mesh profile of the Gateway API's conformance (MESH-GRPC), written from the specification's text (GRPCRoute), with
 * real gRPC clients and servers.
 */
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { bytesMethod, GrpcPodClient, grpcServerIn } from '../support/grpc-pods.ts'
import type { LabPod } from '../support/lab.ts'
import { openShop } from '../support/shop.ts'

const { OK, UNAVAILABLE, UNIMPLEMENTED } = grpc.status
const GET = '/shop.v1.Carts/Get'
const LIST = '/shop.v1.Carts/List'
const V2 = '/shop.v2.Carts/Get'
const CHECK = '/grpc.health.v1.Health/Check'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const stranger = await shop.pod('stranger', { namespace: 'consumer' })
const ports = [{ name: 'grpc', port: 50051, targetPort: 50051, appProtocol: 'kubernetes.io/h2c' }]
/** Metadata of the calls that `one` has served, in order. */
const seen: Readonly<Record<string, grpc.MetadataValue>>[] = []
const METHODS = Object.fromEntries([GET, LIST, V2, CHECK].map((path) => [path, bytesMethod(path)]))

/** Answers each call with its name. */
async function serve(name: string): Promise<void> {
  const pod = await shop.pod(name, { labels: { app: 'carts', server: name } })
  const answer: grpc.handleUnaryCall<Buffer, Buffer> = (call, done) => {
    if (name === 'one') seen.push(call.metadata.getMap())
    const metadata = new grpc.Metadata()
    metadata.set('x-by', name)
    call.sendMetadata(metadata)
    done(null, Buffer.from(name))
  }
  const handlers = Object.fromEntries(Object.keys(METHODS).map((path) => [path, answer]))
  const server = await grpcServerIn(pod.netnsPath, 50051, handlers, METHODS)
  t.teardown(() => server[Symbol.asyncDispose]())
  shop.service(`carts-${name}`, { selector: { server: name }, ports })
}
await serve('one')
await serve('two')
const carts = shop.service('carts', {
  selector: { app: 'carts' },
  ports: [...ports, { name: 'grpc-alt', port: 50052, targetPort: 50051 }],
})
await shop.start()

function opened(pod: LabPod, port = 50051): GrpcPodClient {
  const made = new GrpcPodClient(pod.netnsPath, carts.ipv4, port)
  t.teardown(() => made[Symbol.asyncDispose]())
  return made
}
const near = opened(client)
const alt = opened(client, 50052)
const far = opened(stranger)

interface Answer {
  readonly code: number
  /** Name of the server; empty when it was the mesh that answered. */
  readonly by: string
  readonly headers: Readonly<Record<string, grpc.MetadataValue>>
}

function call(path: string, metadata: Readonly<Record<string, string>> = {}, from = near): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>()
  const sent = new grpc.Metadata()
  for (const [name, value] of Object.entries(metadata)) sent.set(name, value)
  let headers: Answer['headers'] = {}
  let by = ''
  const { requestSerialize, responseDeserialize } = bytesMethod(path)
  const options = { deadline: Date.now() + 20_000 }
  from.client
    .makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      Buffer.from('hello'),
      sent,
      options,
      (_error, reply) => {
        by = reply?.toString() ?? ''
      },
    )
    .on('metadata', (received) => {
      headers = received.getMap()
    })
    .on('status', ({ code }) => resolve({ code, by, headers }))
  return promise
}

const TO_ONE = 'backendRefs: [{ name: carts-one, namespace: shop, port: 50051 }]'
const TO_TWO = 'backendRefs: [{ name: carts-two, namespace: shop, port: 50051 }]'

interface RouteSpec {
  readonly kind?: string
  readonly name?: string
  readonly namespace?: string
  readonly parent?: string
}

function route(rules: readonly string[], spec: RouteSpec = {}): string {
  const { kind = 'GRPCRoute', name = 'carts', namespace = 'shop', parent = '' } = spec
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  parentRefs: [{ group: "", kind: Service, name: carts, namespace: shop ${parent} }]
  rules: [${rules.map((rule) => `{ ${rule} }`).join(', ')}]`
}

/** The server that answered, or the status. */
const outcomeOf = ({ code, by }: Answer): string => (code === OK ? by : (grpc.status[code] ?? String(code)))
const outcome = async (path: string, metadata: Record<string, string> = {}, from = near): Promise<string> =>
  outcomeOf(await call(path, metadata, from))

t.test('Mesh: without routes a call reaches the Service', async (t) => {
  t.match(await outcome(GET), /^(one|two)$/)
})

t.test(
  'GRPCRoute: services, methods and metadata match; the longest service, then method, then most headers win',
  async (t) => {
    await shop.apply(
      route([
        `matches: [{ method: { service: shop.v1.Carts, method: Get } }], ${TO_ONE}`,
        `matches: [{ method: { service: shop.v1.Carts, method: Get }, headers: [{ name: X-Canary, value: "true" }] }], ${TO_TWO}`,
        `matches: [{ method: { service: shop.v2.Carts } }, { method: { method: Check } }], ${TO_TWO}`,
      ]),
    )
    t.equal(await outcome(GET), 'one')
    t.equal(await outcome(GET, { 'x-canary': 'true' }), 'two')
    t.equal(await outcome(GET, { 'x-canary': 'no' }), 'one')
    t.equal(await outcome(V2), 'two', 'a whole service')
    t.equal(await outcome(CHECK), 'two', 'a method of any service')
    const refused = await call(LIST)
    t.match(refused, { code: UNIMPLEMENTED, by: '' }, 'what no rule matches is not implemented')
  },
)

t.test('GRPCRoute: a rule without matches takes every call', async (t) => {
  await shop.apply(route([TO_TWO]))
  for (const path of [GET, LIST, V2]) t.equal(await outcome(path), 'two')
})

t.test('GRPCRoute: weights share the calls of one connection; a weight of 0 gets none', async (t) => {
  const weights = (one: number, two: number) =>
    route([
      `backendRefs: [{ name: carts-one, port: 50051, weight: ${one} }, { name: carts-two, port: 50051, weight: ${two} }]`,
    ])
  const counts = async (total: number) => {
    const found: Record<string, number> = {}
    for (const name of await Promise.all(Array.from({ length: total }, () => outcome(GET))))
      found[name] = (found[name] ?? 0) + 1
    return found
  }
  await shop.apply(weights(7, 3))
  const shares = await counts(400)
  // Binomial, n = 400, p = 0.3: mean 120, standard deviation 9.2; the bounds are 5 of them away.
  t.ok((shares['two'] ?? 0) > 74 && (shares['two'] ?? 0) < 166, `three in ten: ${shares['two']} of 400`)
  t.equal((shares['one'] ?? 0) + (shares['two'] ?? 0), 400)
  await shop.apply(weights(1, 0))
  t.same(await counts(50), { one: 50 })
})

t.test(
  'GRPCRoute: metadata of requests and answers is set, added to and removed, by rules and by backends',
  async (t) => {
    const edits = 'set: [{ name: X-Set, value: new }], add: [{ name: X-Add, value: b }], remove: [X-Remove]'
    const filters = [
      `{ type: RequestHeaderModifier, requestHeaderModifier: { ${edits} } }`,
      '{ type: ResponseHeaderModifier, responseHeaderModifier: { set: [{ name: x-by, value: mesh }], add: [{ name: x-more, value: "1" }] } }',
    ]
    const own = '{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-backend, value: "yes" }] } }'
    await shop.apply(
      route([`filters: [${filters.join(', ')}], backendRefs: [{ name: carts-one, port: 50051, filters: [${own}] }]`]),
    )
    const answer = await call(GET, { 'x-set': 'old', 'x-add': 'a', 'x-remove': 'gone', 'x-keep': 'kept' })
    t.equal(outcomeOf(answer), 'one')
    const arrived = seen.at(-1) ?? {}
    t.match(arrived, { 'x-set': 'new', 'x-keep': 'kept', 'x-backend': 'yes', 'x-remove': undefined })
    t.match(String(arrived['x-add']), /^a, ?b$/)
    t.match(answer.headers, { 'x-by': 'mesh', 'x-more': '1' })
  },
)

t.test('GRPCRoute: a reference that leads nowhere is UNAVAILABLE, for its share', async (t) => {
  await shop.apply(route(['backendRefs: [{ name: nobody, port: 50051 }]']))
  t.match(await call(GET), { code: UNAVAILABLE, by: '' })
  await shop.apply(route(['backendRefs: [{ name: nobody, port: 50051 }, { name: carts-one, port: 50051 }]']))
  const outcomes = await Promise.all(Array.from({ length: 60 }, () => outcome(GET)))
  const failed = outcomes.filter((one) => one === 'UNAVAILABLE').length
  // Binomial, n = 60, p = 1/2: the chance to be outside is below 1e-9.
  t.ok(failed > 7 && failed < 53, `${failed} of 60`)
  t.equal(outcomes.filter((one) => one === 'one').length, 60 - failed)
})

t.test('GRPCRoute: on its port HTTPRoutes do not apply, and a consumer’s route is for the consumer', async (t) => {
  const http = { kind: 'HTTPRoute', name: 'http' }
  await shop.apply(
    route([`matches: [{ method: { service: shop.v1.Carts } }], ${TO_ONE}`], { parent: ', port: 50051' }),
    route([TO_TWO], http),
    route([TO_TWO], { name: 'mine', namespace: 'consumer' }),
    `
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: { name: consumer, namespace: shop }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: consumer }]
  to: [{ group: "", kind: Service }]`,
  )
  t.equal(await outcome(GET), 'one')
  t.equal(await outcome(V2), 'UNIMPLEMENTED', 'the HTTPRoute does not take what is left')
  t.equal(await outcome(V2, {}, alt), 'two', 'at the other port it applies')
  t.equal(await outcome(V2, {}, far), 'two')
})

t.test('GRPCRouteNamedRouteRule: logs and weir explain know a rule by its name', async (t) => {
  await shop.apply(route([`name: carts-rule, matches: [{ method: { service: shop.v1.Carts } }], ${TO_ONE}`]))
  const from = shop.agent.logs.length
  t.equal(await outcome(GET), 'one')
  t.match(await shop.agent.waitFor((line) => line['path'] === GET && line['rule'] === 'carts-rule', { from }), {
    route: 'shop/carts',
    rule: 'carts-rule',
  })
  const explained = await shop.explain(client, `http://${carts.ipv4}:50051${GET}`, { method: 'POST' })
  t.match(explained, { route: 'shop/carts', rule: 'carts-rule' })
  t.match(explained.steps.join(' '), 'GRPCRoute shop/carts, rule carts-rule')
})

t.test('GRPCRoute RequestMirror: a copy of the call goes to the mirror, and nobody waits for it', async (t) => {
  const mirror = '{ type: RequestMirror, requestMirror: { backendRef: { name: carts-one, port: 50051 } } }'
  await shop.apply(route([`filters: [${mirror}], ${TO_TWO}`]))
  const from = shop.agent.logs.length
  const copies = seen.length
  t.equal(await outcome(GET, { 'x-copied': 'yes' }), 'two')
  await shop.agent.waitFor((line) => line['mirror'] === true, { from })
  t.equal(seen.length, copies + 1)
  t.match(seen.at(-1), { 'x-copied': 'yes' })
})
