/** What `weir diagnose` finds in objects and pods of a real shop, and that it is silent when they are right. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Diagnosed, LOOK_ARGS, ofShop } from '../support/diagnosed.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const web = await shop.pod('web')
await shop.serve(web)
shop.service('web')
const agent = await shop.start(LOOK_ARGS)
const diagnosed = new Diagnosed(shop)

t.test('a shop in which nothing is wrong', async (t) => {
  const answer = await diagnosed.looked(8)
  t.match(answer, { node: 'node-1', lookMs: 200 })
  t.same(ofShop(answer), [])
})

t.test('a route whose backend does not exist, until it does', async (t) => {
  await shop.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules: [{ backendRefs: [{ name: missing, port: 80 }] }]
`)
  t.match(await diagnosed.found('invalid-route', 'HTTPRoute shop/web'), {
    severity: 'warning',
    says: /^HTTPRoute shop\/web leads requests nowhere: .*Service shop\/missing does not exist/,
    evidence: [/^test\.yaml/, 'It decides for shop/web'],
    next: 'weir routes',
  })
  const { code, stdout } = await agent.cli('diagnose')
  t.equal(code, 1)
  t.match(stdout, /^\d\. WARNING HTTPRoute shop\/web: .*\(for \d.* s\)\.\n {3}- .*\n.*\n {3}next: weir routes$/m)
  await shop.apply()
  await diagnosed.quiet()
})

t.test('an object that is refused, until it is right', async (t) => {
  const file = join(lab.manifestsDir, 'policy.yaml')
  writeFileSync(
    file,
    `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: odd, namespace: shop }
spec: { action: PERHAPS }
`,
  )
  t.match(await diagnosed.found('invalid-object', 'AuthorizationPolicy shop/odd'), {
    severity: 'warning',
    says: /not in force as it is written: .*action/,
    evidence: [/^policy\.yaml/],
    next: 'weir check',
  })
  rmSync(file)
  await diagnosed.quiet()
})

t.test('a Service without endpoints: when it is asked, when a route leads to it, and not else', async (t) => {
  let empty = ''
  await shop.change(() => {
    empty = shop.service('empty', { selector: { app: 'nobody' } }).ipv4
  })
  t.same(ofShop(await diagnosed.looked(8)), [], 'nobody asks for it')
  for (let i = 0; i < 3; i++) t.equal((await shop.ask(client, empty, 80)).status, 503)
  t.match(await diagnosed.found('no-endpoints', 'shop/empty'), {
    severity: 'critical',
    says: 'Service shop/empty has no endpoint that is ready, and what shop/client asks of it fails',
    evidence: [/^No pod is behind it/, 'shop/client: 3 requests failed'],
    next: 'weir explain --from shop/client --to http://empty.shop:80',
  })
  await diagnosed.quiet()
  await shop.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules: [{ backendRefs: [{ name: empty, port: 80 }] }]
`)
  t.match(await diagnosed.found('no-endpoints', 'shop/empty'), {
    severity: 'warning',
    says: /and HTTPRoute shop\/web leads to it$/,
    next: 'weir pods --all',
  })
  await shop.apply()
  await diagnosed.quiet()
})

t.test('a pod that cannot be enrolled, until it can', async (t) => {
  const file = join(lab.manifestsDir, 'lost.yaml')
  writeFileSync(
    file,
    `apiVersion: v1
kind: Pod
metadata:
  name: lost
  namespace: shop
  uid: 7f3d0000-0000-4000-8000-000000000001
  annotations: { weir.dev/mesh: enabled, weir.dev/netns: /run/netns/weir-there-is-none }
spec: { nodeName: node-1, containers: [{ name: app, image: app }] }
status: { phase: Running, podIPs: [{ ip: 10.99.99.99 }], conditions: [{ type: Ready, status: "True" }] }
`,
  )
  t.match(await diagnosed.found('pod-not-enrolled', 'shop/lost', ({ says }) => /netns|namespace/.test(says)), {
    severity: 'critical',
    says: /^Pod shop\/lost has opted in and is not in the mesh: .*weir-there-is-none/,
    next: 'weir pods shop/lost',
  })
  rmSync(file)
  await diagnosed.quiet()
})
