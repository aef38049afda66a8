/** What `weir diagnose` finds in objects, pods and endpoints of a real shop, and that it is silent when they are right. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { DiagnoseAnswer, Finding, FindingKind } from '#contract'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const web = await shop.pod('web')
await shop.serve(web)
shop.service('web')
const agent = await shop.start(['--look-ms', '200'])

async function diagnosed(): Promise<DiagnoseAnswer> {
  return JSON.parse((await agent.cli('diagnose', ['--json'])).stdout) as DiagnoseAnswer
}

/** Looks until it is found, or is not found any more. */
async function until(kind: FindingKind, subject: string, isWanted: boolean): Promise<Finding | undefined> {
  for (let asked = 0; asked < 60; asked++) {
    const { findings } = await diagnosed()
    const found = findings.find((one) => one.kind === kind && one.subject === subject)
    if ((found !== undefined) === isWanted) return found
  }
  throw new Error(`${kind} ${subject} ${isWanted ? 'was not found' : 'is still found'}`)
}

t.test('a shop in which nothing is wrong', async (t) => {
  const { findings, node, looks, lookMs } = await diagnosed()
  t.match({ node, lookMs }, { node: 'node-1', lookMs: 200 })
  t.ok(looks >= 1)
  // How full the machine is that runs the tests is not the shop's doing.
  t.same(
    findings.filter(({ kind }) => kind !== 'node-saturated' && kind !== 'proxy-saturated'),
    [],
  )
})

t.test('a route whose backend does not exist, until it does', async (t) => {
  await shop.apply(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules: [{ backendRefs: [{ name: missing, port: 80 }] }]
`)
  t.match(await until('invalid-route', 'HTTPRoute shop/web', true), {
    severity: 'warning',
    says: /^HTTPRoute shop\/web leads requests nowhere: .*Service shop\/missing does not exist/,
    evidence: [/^test\.yaml/, 'It decides for shop/web'],
    next: 'weir routes',
  })
  const { code, stdout } = await agent.cli('diagnose')
  t.equal(code, 1)
  t.match(stdout, /^\d\. WARNING HTTPRoute shop\/web: .*\(for \d.* s\)\.\n {3}- .*\n.*\n {3}next: weir routes$/m)
  await shop.apply()
  t.equal(await until('invalid-route', 'HTTPRoute shop/web', false), undefined)
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
  t.match(await until('invalid-object', 'AuthorizationPolicy shop/odd', true), {
    severity: 'warning',
    says: /not in force as it is written: .*action/,
    evidence: [/^policy\.yaml/],
    next: 'weir check',
  })
  rmSync(file)
  t.equal(await until('invalid-object', 'AuthorizationPolicy shop/odd', false), undefined)
})
