/** Where failures begin along real calls from pod to pod, and what a policy began to refuse. */
import t from 'tap'
import { Diagnosed, LOOK_ARGS, ofShop } from '../support/diagnosed.ts'
import { FailingServer } from '../support/failing-server.ts'
import type { LabPod } from '../support/lab.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const web = await shop.pod('web')
const names = ['frontend', 'reviews', 'ratings', 'stock'] as const
const pods = new Map<string, LabPod>()
const addresses = new Map<string, string>()
for (const name of names) {
  pods.set(name, await shop.pod(name))
  addresses.set(name, shop.service(name).ipv4)
}

function server(name: string): FailingServer {
  const pod = pods.get(name)
  if (pod === undefined) throw new Error(`There is no pod ${name}`)
  return new FailingServer(t, pod)
}

/** Answers well when all of those do. */
function callsOn(name: (typeof names)[number], ...others: readonly string[]): FailingServer {
  const one = server(name)
  const pod = pods.get(name)
  one.answer = (request, response) => {
    if (pod === undefined) return
    Promise.all(others.map((other) => shop.ask(pod, addresses.get(other) ?? '', 80))).then(
      (answers) => {
        const well = answers.every(({ status }) => status === 200)
        ;(well ? one.ok : one.fail(500))(request, response)
      },
      () => one.fail(502)(request, response),
    )
  }
  return one
}

callsOn('frontend', 'reviews')
callsOn('reviews', 'ratings', 'stock')
const ratings = server('ratings')
server('stock')
await shop.start(LOOK_ARGS)
const diagnosed = new Diagnosed(shop)

let stopped = false
const asking = (async () => {
  while (!stopped) await shop.ask(web, addresses.get('frontend') ?? '', 80)
})()
t.teardown(async () => {
  stopped = true
  await asking
})

t.test('calls that are answered are nothing to tell', async (t) => {
  t.same(ofShop(await diagnosed.looked(12)), [])
})

t.test('a fault at the end of a chain is told there, and its callers as what follows', async (t) => {
  ratings.answer = ratings.fail(500)
  const finding = await diagnosed.found('error-rate', 'shop/reviews -> shop/ratings', ({ severity, evidence }) => {
    return severity === 'critical' && evidence.some((line) => /^So: .* shop\/web to shop\/frontend/.test(line))
  })
  t.match(finding, {
    severity: 'critical',
    says: /^\d+ % of the requests from shop\/reviews to shop\/ratings fail \(0 % before\), because the application answers 500$/,
    next: 'weir tap --from shop/reviews --to shop/ratings --status 5xx --limit 3',
  })
  t.match(finding.evidence.join('\n'), /^So: .* shop\/frontend to shop\/reviews fail/m)
  await diagnosed.until('one finding for one fault', (answer) => ofShop(answer).length === 1)
  ratings.reset()
  await diagnosed.quiet()
})

t.test('a policy that begins to deny is told with its change, as the cause of what fails above', async (t) => {
  await shop.apply(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: closed, namespace: shop }
spec:
  selector: { matchLabels: { app: ratings } }
  action: DENY
  rules: [{ from: [{ source: { principals: ["cluster.local/ns/shop/sa/reviews"] } }] }]
`)
  const finding = await diagnosed.found('policy-denies', 'shop/reviews -> shop/ratings', ({ severity, evidence }) => {
    return severity === 'critical' && evidence.some((line) => line.startsWith('So: '))
  })
  t.match(finding, {
    severity: 'critical',
    says: /are refused by policy, since AuthorizationPolicy shop\/closed was added$/,
    next: 'weir tap --from shop/reviews --to shop/ratings --flags RBAC --limit 3',
  })
  await diagnosed.until('one finding for one fault', (answer) => ofShop(answer).length === 1)
  await shop.apply()
  await diagnosed.quiet()
})

t.test('an application that closes its connections is told as such', async (t) => {
  ratings.answer = (request) => request.socket.destroy()
  t.match(await diagnosed.found('error-rate', 'shop/reviews -> shop/ratings'), {
    says: /because the application closes the connection before it answers$/,
    evidence: [/\(UC 50[23]\)/],
  })
  ratings.reset()
  await diagnosed.quiet()
})
