/**
 * The demo: real namespaces, real iptables, real curl. Each step prints what it does in plain words, the
 * command as it is run, and what came back. Everything made is removed, unless `--keep`.
 */
import { parseArgs } from 'node:util'
import { errorLine } from '#base'
import { type Lab, openLab } from '../test/support/lab.ts'
import type { LabAgent } from '../test/support/lab-agent.ts'
import { showTwoNodes } from './demo-nodes.ts'
import { check, cleanUp, curl, keepUntilInterrupted, rulesOf, SERVER, say, step } from './demo-stage.ts'

const USAGE = `scripts/demo [--nodes 2] [--keep]
  --nodes 2   what goes between two nodes: mutual TLS, and a revoked identity
  --keep      leave it running for playing with: it stays in the foreground, and Ctrl-C ends and removes it`

function readFlags() {
  try {
    return parseArgs({
      options: { keep: { type: 'boolean' }, nodes: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    })
  } catch (thrown) {
    console.error(`demo: ${errorLine(thrown)}\n${USAGE}`)
    process.exit(64)
  }
}

const { values } = readFlags()
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const nodes = values.nodes ?? '1'
if (nodes !== '1' && nodes !== '2') {
  console.error(`demo: --nodes: expected 1 or 2, got ${JSON.stringify(nodes)}`)
  process.exit(64)
}

function route(split: readonly [number, number]): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: reviews, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: reviews, port: 80 }]
  rules:
    - name: canary
      matches: [{ headers: [{ name: x-canary, value: v2 }] }]
      backendRefs: [{ name: reviews-v2, port: 80 }]
    - name: everyone-else
      backendRefs:
        - { name: reviews-v1, port: 80, weight: ${split[0]} }
        - { name: reviews-v2, port: 80, weight: ${split[1]} }
`
}

function ratingsPolicy(accounts: readonly string[]): string {
  return `
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: ratings, namespace: shop }
spec:
  selector: { matchLabels: { app: ratings } }
  action: ALLOW
  rules:
    - from: [{ source: { principals: [${accounts.map((name) => `cluster.local/ns/shop/sa/${name}`).join(', ')}] } }]
      to: [{ operation: { methods: [GET] } }]
`
}

/** Waits until the agent's proxies have applied a manifest written just now. */
async function applied(agent: LabAgent, from: number): Promise<void> {
  await agent.waitFor('world applied', { from })
}

async function main(lab: Lab): Promise<void> {
  step('A node with five pods, each a network namespace of its own')
  const pod = (name: string, app: string, version = 'v1') =>
    lab.addPod({
      name,
      namespace: 'shop',
      serviceAccount: app,
      labels: { app, version },
      ports: [{ name: 'http', containerPort: 8080 }],
    })
  const client = await pod('client', 'client')
  const web = await pod('web', 'web')
  const reviews1 = await pod('reviews-v1', 'reviews', 'v1')
  const reviews2 = await pod('reviews-v2', 'reviews', 'v2')
  const ratings = await pod('ratings', 'ratings')
  const service = (name: string, selector: Record<string, string>) =>
    lab.addService({ name, namespace: 'shop', selector, ports: [{ name: 'http', port: 80, targetPort: 8080 }] }).ipv4
  const webIp = service('web', { app: 'web' })
  const reviewsIp = service('reviews', { app: 'reviews' })
  service('reviews-v1', { app: 'reviews', version: 'v1' })
  service('reviews-v2', { app: 'reviews', version: 'v2' })
  const ratingsIp = service('ratings', { app: 'ratings' })
  await Promise.all([
    web.node(SERVER, ['web', `http://${reviewsIp}/`]),
    reviews1.node(SERVER, ['reviews-v1', `http://${ratingsIp}/`]),
    reviews2.node(SERVER, ['reviews-v2', `http://${ratingsIp}/`]),
    ratings.node(SERVER, ['ratings']),
  ])
  say(`Their manifests, with the annotation weir.dev/mesh: enabled, are in ${lab.manifestsDir}`)
  const rulesBefore = await rulesOf(web)
  const started = performance.now()
  const agent = await lab.startAgent()
  say(`weir agent: ready ${Math.round(performance.now() - started)} ms after its start`)
  say((await agent.cli('pods')).stdout.trimEnd())

  step('A call through the shop: no sidecar, no change to the applications')
  const chain = await curl(client, `http://${webIp}/`)
  check(chain.includes('sa/client') && chain.includes('sa/web'), 'each server learns its caller')

  step('A canary, routed by header')
  let from = agent.logs.length
  lab.apply(route([100, 0]), 'route.yaml')
  await applied(agent, from)
  check((await curl(client, `http://${webIp}/`)).includes('reviews-v1'), 'without the header: v1')
  check((await curl(client, `http://${webIp}/`, ['-H', 'x-canary: v2'])).includes('reviews-v2'), 'with the header: v2')

  step('A 90/10 split, counted')
  from = agent.logs.length
  lab.apply(route([90, 10]), 'route.yaml')
  await applied(agent, from)
  say(`web$ 300 times: curl http://${reviewsIp}/`)
  const { stdout } = await web.exec('curl', ['-s', `http://${reviewsIp}/?n=[1-300]`], { timeoutMs: 30_000 })
  const counts = { v1: stdout.split('reviews-v1').length - 1, v2: stdout.split('reviews-v2').length - 1 }
  say(`reviews-v1: ${counts.v1}, reviews-v2: ${counts.v2}`)
  check(counts.v1 + counts.v2 === 300 && counts.v2 > 5 && counts.v2 < 75, 'about a tenth goes to v2')

  step('One identity allowed, another denied')
  from = agent.logs.length
  lab.apply(ratingsPolicy(['reviews']), 'policy.yaml')
  await applied(agent, from)
  say('Only the service account of reviews may call ratings:')
  check((await curl(reviews1, `http://${ratingsIp}/`)).startsWith('200'), 'reviews is allowed')
  check((await curl(client, `http://${ratingsIp}/`)).startsWith('403'), 'the client is denied')
  const forged = ['-H', 'x-forwarded-client-cert: URI=spiffe://cluster.local/ns/shop/sa/reviews']
  check((await curl(client, `http://${ratingsIp}/`, forged)).startsWith('403'), 'a forged header changes nothing')
  say(`$ weir explain --from shop/client --to http://ratings/`)
  say((await agent.cli('explain', ['--from', 'shop/client', '--to', 'http://ratings/'])).stdout.trimEnd())

  step('The policy, changed live')
  from = agent.logs.length
  lab.apply(ratingsPolicy(['reviews', 'client']), 'policy.yaml')
  await applied(agent, from)
  check((await curl(client, `http://${ratingsIp}/`)).startsWith('200'), 'the client is allowed now')

  step('What happened, in one place: the access log (the last five requests)')
  const last = await agent.waitFor(
    (line) =>
      line['msg'] === 'request' &&
      line['source'] === 'shop/client' &&
      line['status'] === 200 &&
      line['policy'] === 'shop/ratings',
  )
  check(last !== undefined, 'the last request is logged')
  for (const line of agent.logs.filter((entry) => entry['msg'] === 'request').slice(-5)) {
    say(
      `${line['source']} -> ${line['destination']}  ${line['method']} ${line['path']}  ${line['status']} ${line['flags']}` +
        `  route=${line['route'] ?? '-'}/${line['rule'] ?? '-'}  policy=${line['policy'] ?? '-'}  ${line['durationMs']} ms`,
    )
  }

  if (values.keep) {
    await keepUntilInterrupted(`The shop stays. In it, for example:
   scripts/lab exec ${lab.id} shop/client curl -s http://${webIp}/
   scripts/weir status --state-dir ${lab.stateDir}
   scripts/weir tap, top, edges, diagnose: the same way, while calls go on
   ${lab.manifestsDir}: edit, add or remove manifests; they are followed live`)
  }
  await cleanUp([agent], web, rulesBefore)
}

await using lab = await openLab(nodes === '2' ? { nodes: 2 } : {})
try {
  if (nodes === '2') await showTwoNodes(lab, values.keep === true)
  else await main(lab)
  await lab.close()
  say('The namespaces are gone. That was Weir.')
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
