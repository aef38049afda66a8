/** HTTP/2 and gRPC from node to node: one tunnel, policy judged for each stream where it arrives. */
import { once } from 'node:events'
import { join } from 'node:path'
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { GrpcPodClient, grpcServerIn } from '../support/grpc-pods.ts'
import { http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'
import { openLab } from '../support/lab.ts'
import { connectIn } from '../support/raw-socket.ts'

t.test('streams keep their policy, their ends, their statuses and their version through a tunnel', async (t) => {
  await using lab = await openLab({ t, nodes: 2 })
  const [left, right] = lab.nodes
  if (left === undefined || right === undefined) throw new Error('Two nodes were asked for')
  const pod = (node: typeof left, name: string) =>
    node.addPod({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
  const client = await pod(left, 'client')
  const web = await pod(right, 'web')
  const service = lab.addService({
    name: 'web',
    namespace: 'shop',
    selector: { app: 'web' },
    ports: [
      { name: 'any', port: 7001 },
      { name: 'grpc', port: 7002 },
      { name: 'http2', port: 7003, targetPort: 7001 },
    ],
  })
  lab.apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  rules:
    - from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }]
      to: [{ operation: { paths: [/open, /v2/items, /echo.Echo/Both] } }]`)
  lab.apply(`
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web, namespace: shop }
spec:
  targetRefs: [{ group: '', kind: Service, name: web }]
  versioning:
    versions:
      - { name: '2', match: [{ pathPrefix: /v2 }] }
      - name: '1'
        match: [{ pathPrefix: /v1 }]
        request:
          paths: [{ prefix: /v1, to: /v2 }]
          body: [{ rename: { path: /name, to: title } }]
        response:
          body: [{ rename: { path: /title, to: name } }]`)
  const args = { proxies: 1, extraArgs: ['--ca-dir', join(lab.dir, 'ca')] }
  const agents = [await left.startAgent(args), await right.startAgent(args)]
  const items: string[] = []
  await using http2Server = await http2ServerIn(web.netnsPath, 7001, (stream, headers) => {
    const json = { 'content-type': 'application/json' }
    const isItem = headers[':path']?.endsWith('/items')
    stream.respond({
      ':status': 200,
      'x-caller': String(headers['x-forwarded-client-cert']),
      ...(isItem ? json : {}),
    })
    if (isItem) stream.on('data', (body: Buffer) => items.push(`${headers[':path']} ${body.toString()}`))
    stream.pipe(stream)
  })
  const cancelled = Promise.withResolvers<void>()
  await using _server = await grpcServerIn(web.netnsPath, 7002, {
    Unary: (_call: unknown, done: grpc.sendUnaryData<Buffer>) => done(null, Buffer.from('never')),
    Both: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (chunk: Buffer) => call.write(chunk))
      call.on('end', () => call.end())
      call.on('cancelled', () => cancelled.resolve())
      call.on('error', () => {})
    },
  })
  using http2Client = await http2ClientIn(client.netnsPath, service.ipv4, 7001)
  const post = (path: string, body: string) => http2Client.ask({ ':method': 'POST', ':path': path }, body)
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => post('/open', 'x'.repeat(i * 5000))))
  t.same(
    answers.map(({ status, body }) => [status, body.length]),
    answers.map((_, i) => [200, i * 5000]),
  )
  t.match(answers[0]?.headers['x-caller'], /URI=spiffe:.*sa\/client$/)
  const denied = await post('/closed', 'x')
  t.match(denied, { status: 403, body: 'weir: denied by policy' })
  t.notOk('x-weir-refusal' in denied.headers)
  t.equal(http2Server.used.size, 1)
  t.match(await agents[0]?.waitFor((line) => line['path'] === '/closed', { from: 0 }), { flags: 'RBAC', status: 403 })

  const translated = await http2Client.ask(
    { ':method': 'POST', ':path': '/v1/items', 'content-type': 'application/json' },
    '{"name":"x"}',
  )
  t.match(translated, { status: 200, body: '{"name":"x"}' }, 'the destination judges what arrives')
  using http1 = await connectIn(client.netnsPath, service.ipv4, 7003)
  await http1.send(
    'POST /v1/items HTTP/1.1\r\nhost: web\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{"name":"y"}',
  )
  const old = await http1.message()
  t.match(old.start, /^HTTP\/1\.1 200/)
  t.equal(old.body.toString(), '{"name":"y"}')
  t.same(items, ['/v2/items {"title":"x"}', '/v2/items {"title":"y"}'])
  t.match(await post('/v1/closed', '{}'), { status: 403 }, 'as what it would have arrived')

  await using grpcClient = new GrpcPodClient(client.netnsPath, service.ipv4, 7002)
  await t.rejects(grpcClient.unary('x'), { code: grpc.status.PERMISSION_DENIED })
  const call = grpcClient.both()
  for (const word of ['one', 'two']) {
    call.write(Buffer.from(word))
    t.equal(String((await once(call, 'data'))[0]), word)
  }
  call.cancel()
  await cancelled.promise
  const line = await agents[1]?.waitFor((one) => one['path'] === '/echo.Echo/Both', { from: 0 })
  t.match(line, { direction: 'inbound', protocol: 'grpc', flags: 'DC' })
})
