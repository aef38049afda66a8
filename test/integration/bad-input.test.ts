/** Whatever is wrong with files, machine or command line is told in one line with its remedy; all else goes on. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { openShop } from '../support/shop.ts'

const WEIR = join(import.meta.dirname, '../../scripts/weir')
const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const web = await shop.pod('web')
const api = await shop.pod('api')
await shop.serve(web)
await shop.serve(api)
const webService = shop.service('web')
const apiService = shop.service('api')
const agent = await shop.start()

interface Reported {
  readonly severity: string
  readonly subject: string
  readonly message: string
}

async function problems(): Promise<readonly Reported[]> {
  const { stdout } = await agent.cli('status', ['--json'])
  return (JSON.parse(stdout) as { problems: Reported[] }).problems
}

const status = async (address = webService.ipv4) => (await shop.ask(client, address, 80)).status

/** Writes the file, waits until all these problems are told, and gives them as `weir status` has them. */
async function broken(file: string, text: string, count = 1): Promise<readonly string[]> {
  const from = agent.logs.length
  writeFileSync(join(lab.manifestsDir, file), text)
  const told = () => agent.logs.slice(from).filter(({ msg, problem }) => msg === 'problem' && mentions(problem, file))
  await agent.waitFor(() => told().length >= count, { from })
  const reported = (await problems()).filter(({ subject }) => mentions(subject, file))
  return reported.map(({ subject, message }) => `${subject}: ${message}`)
}

const mentions = (text: unknown, file: string) => String(text).startsWith(file)

/** Removes the file and waits until nothing is wrong any more. */
async function mended(file: string): Promise<void> {
  const from = agent.logs.length
  lab.remove(file)
  await agent.waitFor(({ msg, problem }) => msg === 'problem solved' && mentions(problem, file), { from })
}

const route = (rules: string, more = '') => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]${more}
  rules: ${rules}
`
const policy = (spec: string) => `apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: guard, namespace: shop }
spec: { selector: { matchLabels: { app: web } }, ${spec} }
`

t.test('a broken file is told with its line, and what else there is goes on', async (t) => {
  const [problem, ...more] = await broken('broken.yaml', 'apiVersion: v1\nkind: Service\nmetadata: { name: x\nspec:\n')
  t.match(
    problem,
    /^broken\.yaml \(document 1\): not valid YAML: .* at line [345], column \d+: .*; nothing of this file is applied/,
  )
  t.same(more, [])
  t.equal(await status(), 200)
  const words = await agent.cli('check')
  t.equal(words.code, 1)
  t.match(words.stdout, /^failure +broken\.yaml \(document 1\): not valid YAML/m)
  t.match(await broken('no-object.yaml', '- 1\n- 2\n'), [
    /^no-object\.yaml \(document 1\): expected a Kubernetes object/,
  ])
  t.match(await broken('bytes.yaml', '\u0000\u0001'), [/^bytes\.yaml \(document 1\): expected a Kubernetes object/])
  for (const file of ['broken.yaml', 'no-object.yaml', 'bytes.yaml']) await mended(file)
  t.same(await problems(), [])
})

const BAD_RULES: readonly (readonly [string, string, RegExp])[] = [
  [
    'an unknown field',
    route('[{ backendRef: [{ name: api, port: 80 }] }]'),
    /spec\.rules\[0\]\.backendRef: unknown field/,
  ],
  ['an unknown field beside spec', `${route('[{}]')}specs: {}\n`, /specs: unknown field; did you mean spec\?/],
  [
    'a wrong type',
    route('[{ backendRefs: [{ name: api, port: "80" }] }]'),
    /spec\.rules\[0\]\.backendRefs\[0\]\.port: /,
  ],
  ['a wrong value', route('[{ matches: [{ method: FETCH }] }]'), /spec\.rules\[0\]\.matches\[0\]\.method: .*FETCH/],
  [
    'a field of a policy',
    policy('rules: [{ to: [{ operation: { method: [GET] } }] }]'),
    /spec\.rules\[0\]\.to\[0\]\.operation\.method: unknown field; did you mean methods\?/,
  ],
  [
    'a type in a policy',
    policy('rules: [{ to: [{ operation: { methods: [GET, 5] } }] }]'),
    /spec\.rules\[0\]\.to\[0\]\.operation\.methods\[1\]: expected a string, got number/,
  ],
  ['an action', policy('action: REFUSE'), /spec\.action: .*REFUSE/],
]

t.test('a route or policy with a mistake refuses, and says which field of which object of which file', async (t) => {
  for (const [name, text, expected] of BAD_RULES) {
    const route = text.includes('kind: HTTPRoute')
    const from = agent.logs.length
    const told = await broken('rules.yaml', text)
    await agent.waitFor('world applied', { from })
    t.equal(told.length, 1, name)
    t.match(
      told[0],
      route
        ? /^rules\.yaml \(document 1\): HTTPRoute shop\/web: /
        : /^rules\.yaml \(document 1\): AuthorizationPolicy shop\/guard: /,
    )
    t.match(told[0], expected, name)
    t.equal(await status(), route ? 500 : 403, `${name} fails closed`)
    t.equal(await status(apiService.ipv4), 200, 'and concerns nobody else')
    const verb = await agent.cli(route ? 'routes' : 'policies')
    t.equal(verb.code, 1)
    t.match(verb.stdout, expected, `${name} is in the list`)
    await shop.change(() => mended('rules.yaml'))
    t.equal(await status(), 200, `${name} is mended`)
  }
})

t.test('what kubectl prints beside what concerns the mesh is no problem', async (t) => {
  const metadata = {
    uid: 'c0ffee',
    resourceVersion: '123',
    generation: 2,
    creationTimestamp: '2026-01-02T03:04:05Z',
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}\n' },
    managedFields: [{ manager: 'kubectl', operation: 'Update', fieldsV1: { 'f:spec': { 'f:rules': {} } } }],
  }
  const container = { name: 'a', image: 'a:1', tty: false, imagePullPolicy: 'IfNotPresent', newFieldOfNextYear: [1] }
  const items = [
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, name: 'printed', namespace: 'shop', generateName: 'printed-' },
      spec: { containers: [container], dnsPolicy: 'ClusterFirst', tolerations: [{ key: 'x' }], newField: { a: 1 } },
      status: { phase: 'Pending', qosClass: 'BestEffort', containerStatuses: [{ ready: false, state: {} }] },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...metadata, name: 'printed', namespace: 'shop' },
      spec: { clusterIP: 'None', ports: [{ port: 1, protocol: 'UDP' }], internalTrafficPolicy: 'Cluster', next: 1 },
      status: { loadBalancer: {} },
    },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { ...metadata, name: 'printed', namespace: 'shop' },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'api' }],
        rules: [{ backendRefs: [{ name: 'api', port: 80 }] }],
      },
      status: { parents: [{ controllerName: 'x', conditions: [] }] },
    },
    { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 5 }, spec: 'not ours' },
    { apiVersion: 'example.org/v7', kind: 'Whatever', anything: true },
  ]
  const list = { apiVersion: 'v1', kind: 'List', metadata: { resourceVersion: '' }, items }
  await shop.change(() => lab.apply(stringify(list), 'printed.yaml'))
  t.same(await problems(), [])
  const { stdout } = await agent.cli('pods', ['--all'])
  t.match(stdout, /^shop\/printed +- +not in mesh/m)
  t.equal((await agent.cli('check')).code, 0)
  await shop.change(() => lab.remove('printed.yaml'))
})

t.test('a pod with a mistake keeps its last good word, one without a namespace is not enrolled', async (t) => {
  const pod = (name: string, more: object) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', annotations: { 'weir.dev/mesh': 'enabled' }, ...more },
    spec: { nodeName: 'node-1', containers: [{ name: 'a', image: 'a' }] },
    status: { podIP: '10.255.255.1' },
  })
  const typed = { ...pod('typed', {}), spec: { nodeName: ['node-1'] } }
  t.match(await broken('typed.yaml', stringify(typed)), [
    /^typed\.yaml \(document 1\): Pod shop\/typed: spec\.nodeName: expected a string, got a list$/,
  ])
  await mended('typed.yaml')

  const annotations = { 'weir.dev/mesh': 'enabled', 'weir.dev/netns': '/run/netns/weir-none' }
  const from = agent.logs.length
  lab.apply(stringify(pod('lost', { annotations })), 'lost.yaml')
  const failed = await agent.waitFor(({ msg, pod }) => msg === 'pod not enrolled' && pod === 'shop/lost', { from })
  t.match(failed['reason'], 'Pod shop/lost: Network namespace /run/netns/weir-none does not exist')
  t.match(await problems(), [{ subject: 'Pod shop/lost', message: /weir-none does not exist/ }])
  const pods = await agent.cli('pods')
  t.equal(pods.code, 1)
  t.match(pods.stdout, /^shop\/lost +failed .*weir-none does not exist/m)
  t.match((await agent.cli('check')).stdout, /^failure +pod shop\/lost is not enrolled \(failed\): /m)
  t.equal(await status(), 200)
  const late = await shop.pod('late')
  await agent.waitFor(({ msg, pod }) => msg === 'pod enrolled' && pod === 'shop/late', { from })
  t.equal((await shop.ask(late, webService.ipv4, 80)).status, 200, 'others are still enrolled')
  await shop.change(() => lab.remove('lost.yaml'))
  t.same(await problems(), [])
})

const exec = (args: readonly string[]) => lab.node.exec(WEIR, args)
/** In a mount namespace of its own the program cannot be run. */
const WITHOUT_IPTABLES = 'mount --bind /dev/null "$(readlink -f "$(command -v iptables)")" && exec "$0" "$@"'
const agentArgs = ['agent', '--node', 'node-1', '--manifests', lab.manifestsDir]
const free = [...agentArgs, '--state-dir', join(lab.dir, 'other'), '--admin', 'none']

t.test('an agent that cannot start says in one line what is missing, and touches nothing', async (t) => {
  const refusals: readonly (readonly [string, () => ReturnType<typeof exec>, number, RegExp])[] = [
    [
      'a second agent on the state directory',
      () => exec([...agentArgs, '--state-dir', lab.stateDir, '--admin', 'none']),
      75,
      /^weir agent: Another agent runs with the state directory .*; stop it or name another with --state-dir/,
    ],
    [
      'an admin address in use',
      () => exec([...agentArgs, '--state-dir', join(lab.dir, 'other')]),
      69,
      /127\.0\.0\.1:15000: the address is in use; choose another with --admin$/m,
    ],
    [
      'no manifests',
      () => exec(['agent', '--node', 'n', '--manifests', '/none', '--state-dir', join(lab.dir, 'other')]),
      69,
      /the manifest directory \/none: it does not exist; create it or name another one$/m,
    ],
    [
      'a file for a directory',
      () => exec(['agent', '--node', 'n', '--manifests', '/etc/hostname', '--state-dir', join(lab.dir, 'other')]),
      69,
      /\/etc\/hostname: it is not a directory/,
    ],
    [
      'no token for the CA',
      () => exec([...free, '--ca', 'ca:15012', '--ca-root', '/etc/hostname', '--join-token', '/none/token']),
      69,
      /^weir agent: --join-token: \/none\/token does not exist; name the file that holds this node's token/,
    ],
    [
      'no root of the CA',
      () => exec([...free, '--ca', 'ca:15012', '--ca-root', '/none/root.pem', '--join-token', '/etc/hostname']),
      69,
      /^weir agent: --ca-root: \/none\/root\.pem does not exist; name the file that holds the CA's root/,
    ],
    [
      'a state directory that cannot be',
      () => exec([...agentArgs, '--state-dir', '/etc/hostname/weir']),
      69,
      /the state directory \/etc\/hostname\/weir: /,
    ],
    [
      'no root',
      () => lab.node.exec('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', WEIR, ...free]),
      77,
      /^weir agent: Needs root/,
    ],
    [
      'no iptables',
      () => lab.node.exec('unshare', ['--mount', 'sh', '-c', WITHOUT_IPTABLES, WEIR, ...free]),
      69,
      /^weir agent: .*iptables.*install/i,
    ],
  ]
  for (const [name, start, code, line] of refusals) {
    const { code: ended, stdout, stderr } = await start()
    t.equal(ended, code, name)
    t.match(stderr, line, name)
    t.match(stderr, /^[^\n]+\n$/, `${name}: one line`)
    t.notMatch(stderr, /\n +at |Error:/, `${name}: no stack`)
    t.notMatch(stdout, '"msg":"ready"')
    t.notMatch(stdout, /"stack"|\\n +at /, `${name}: no stack in the log`)
    t.notOk(existsSync(join(lab.dir, 'other')), `${name}: no state directory is left`)
  }
  t.equal(await status(), 200, 'the agent that runs goes on')
  t.equal((await agent.cli('check')).code, 0)
})

t.test('wrong command lines are told with the nearest right one', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['statsu'], /weir has no verb "statsu"; did you mean status\?/],
    [['status', '--jsn'], /weir status has no flag --jsn; did you mean --json\?/],
    [['status', 'now'], /takes no argument "now"/],
    [['explain', '--from', 'shop/web'], /needs --from NAMESPACE\/POD and --to URL/],
    [['agent', '--node', 'n'], /--manifests: missing/],
    [['agent', '--node', 'N!', '--manifests', '/'], /--node: expected a node name .*"N!"/],
    [
      ['agent', '--node', 'n', '--manifests', '/', '--proxys=2'],
      /Unknown argument --proxys=2; did you mean --proxies\?/,
    ],
    [['agent', '--node', 'n', '--manifest', '/'], /Unknown argument --manifest; did you mean --manifests\? /],
    [['agent', '--node', 'n', '--manifests', '/', '--proxies', 'many'], /--proxies: expected a number.*"many"/],
    [['agent', '--node', 'n', '--manifests', '/', '--admin', 'here'], /--admin: expected HOST:PORT or none/],
  ]
  for (const [args, line] of cases) {
    const { code, stdout, stderr } = await exec(args)
    t.same([code, stdout], [64, ''], args.join(' '))
    t.match(stderr, line)
    t.match(stderr, /^[^\n]+\n$/, 'one line')
  }
  const nowhere = await exec(['status', '--state-dir', '/none'])
  t.same([nowhere.code, nowhere.stdout], [69, ''])
  t.match(nowhere.stderr, /^Cannot reach the agent at \/none\/admin\.sock: no agent is running there[^\n]*\n$/)
  const url = await agent.cli('explain', ['--from', 'shop/web', '--to', 'ftp://x'])
  t.same([url.code, url.stderr], [64, 'Field to: scheme ftp:// is none of http://, https://, tcp://\n'])
})
