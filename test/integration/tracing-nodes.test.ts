/** Spans of requests between nodes: each side by its own node, in one trace that all nodes decide alike about. */
import { join } from 'node:path'
import t from 'tap'
import { openLab } from '../support/lab.ts'
import { OtlpReceiver } from '../support/otlp-receiver.ts'

t.test('each node tells of its own side, and both have one trace, begun where the request left', async (t) => {
  await using lab = await openLab({ t, nodes: 2 })
  const [left, right] = lab.nodes
  if (left === undefined || right === undefined) throw new Error('Two nodes were asked for')
  const receiver = await OtlpReceiver.start(left)
  const pod = (node: typeof left, name: string) =>
    node.addPod({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
  const client = await pod(left, 'client')
  const other = await pod(left, 'other')
  const web = await pod(right, 'web')
  const service = lab.addService({ name: 'web', namespace: 'shop', selector: { app: 'web' }, ports: [{ port: 8080 }] })
  lab.apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-other, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  action: DENY
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/other] } }] }]`)
  await web.echoServer()
  const tracing = ['--trace-otlp', OtlpReceiver.url(left), '--trace-sample', '1', '--trace-tail', 'off']
  const args = { proxies: 1, extraArgs: ['--ca-dir', join(lab.dir, 'ca'), ...tracing] }
  const agents = [await left.startAgent(args), await right.startAgent(args)]

  const { headers } = await client.echo(`http://${service.ipv4}:8080/begun`)
  const [, traceId = '', parentId] = headers['traceparent']?.split('-') ?? []
  const [sent, served] = await receiver.trace(traceId, 2)
  t.match(sent, { kind: 'client', parentId: '', resource: { 'service.name': 'client', 'k8s.node.name': left.name } })
  t.match(served, {
    kind: 'server',
    spanId: parentId,
    parentId: sent?.spanId,
    resource: { 'service.name': 'web', 'k8s.node.name': right.name },
    attributes: { 'client.address': client.ipv4, 'service.peer.name': 'client' },
  })

  const ofB3 = '1af7651916cd43dd8448eb211c80319c'
  const answer = await client.echo(`http://${service.ipv4}:8080/b3`, ['-H', `b3: ${ofB3}-b7ad6b7169203331-d`])
  const [left3, right3] = await receiver.trace(ofB3, 2)
  t.equal(left3?.parentId, 'b7ad6b7169203331')
  t.equal(right3?.parentId, left3?.spanId)
  t.equal(answer.headers['b3'], `${ofB3}-${right3?.spanId}-d-${left3?.spanId}`)
  t.equal(answer.headers['traceparent'], `00-${ofB3}-${right3?.spanId}-01`)

  const unsampled = '0af7651916cd43dd8448eb211c80319c'
  const traceparent = `traceparent: 00-${unsampled}-b7ad6b7169203331-00`
  await other.curl(`http://${service.ipv4}:8080/refused`, ['-H', traceparent])
  await other.curl(`http://${service.ipv4}:8080/refused`)
  const refused = await receiver.span('the refusal', ({ kind, attributes }) => {
    return kind === 'client' && String(attributes['url.full']).endsWith('/refused')
  })
  const both = await receiver.trace(refused.traceId, 2)
  for (const span of both) t.match(span.attributes, { 'error.type': 'weir.RBAC', 'http.response.status_code': 403 })
  t.match(both, [{ resource: { 'service.name': 'other' } }, { resource: { 'service.name': 'web' } }])
  for (const agent of agents) await agent.stop()
  t.same(
    receiver.spans.filter((span) => span.traceId === unsampled),
    [],
    'its caller has decided, and how it went is not asked for',
  )
})
