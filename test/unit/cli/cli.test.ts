import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type {
  ExplainAnswer,
  PeerAuthenticationAnswer,
  PodAnswer,
  PolicyAnswer,
  ProblemAnswer,
  RouteAnswer,
  StatusAnswer,
  TrafficPolicyAnswer,
} from '#contract'
import type { AgentStatus, PodStatus, Problem } from '../../../agent/admin/backend.ts'
import type { Explanation } from '../../../agent/admin/explain.ts'
import { startAdmin } from '../../../agent/admin/server.ts'
import type {
  PeerAuthenticationListing,
  PolicyListing,
  RouteListing,
  TrafficListing,
} from '../../../agent/admin/world-listing.ts'
import { runCli } from '../../../src/cli/cli.ts'
import { FakeBackend } from '../admin/fake-backend.ts'

interface Ran {
  readonly exitCode: number | undefined
  readonly out: string
  readonly err: string
}

async function weir(...argv: string[]): Promise<Ran> {
  let out = ''
  let err = ''
  const exitCode = await runCli(argv, {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
    print: async (text) => {
      out += text
      return true
    },
    isTerminal: false,
    runAgent: async (args) => {
      out += `agent ${args.join(' ')}`
      return 3
    },
    runCa: async (args) => {
      out += `ca ${args.join(' ')}`
      return 4
    },
    runUninstall: async (args) => {
      out += `uninstall ${args.join(' ')}`
      return 5
    },
    runPreflight: async (call) => [{ result: 'ok', what: JSON.stringify(call), remedy: '' }],
    annotatePod: async () => 'not asked for',
    nowMs: () => 1_010_000,
  })
  return { exitCode, out, err }
}

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'weir-cli-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

async function agent(t: Test): Promise<{ readonly backend: FakeBackend; readonly stateDir: string }> {
  const stateDir = directory(t)
  const backend = new FakeBackend()
  const server = await startAdmin({ socketPath: join(stateDir, 'admin.sock'), backend, logger: { warn: () => {} } })
  t.teardown(() => server[Symbol.asyncDispose]())
  return { backend, stateDir }
}

const VERBS = ['status', 'pods', 'routes', 'policies', 'metrics', 'config', 'check']

t.test('what the agent answers has the shape that the verbs read', async (t) => {
  // Fails to compile when the two sides part; at run time there is nothing left to check.
  const shapes: [
    (of: AgentStatus) => StatusAnswer,
    (of: PodStatus) => PodAnswer,
    (of: Problem) => ProblemAnswer,
    (of: RouteListing) => RouteAnswer,
    (of: PolicyListing) => PolicyAnswer,
    (of: Explanation) => ExplainAnswer,
    (of: PeerAuthenticationListing) => PeerAuthenticationAnswer,
    (of: TrafficListing) => TrafficPolicyAnswer,
  ] = [(of) => of, (of) => of, (of) => of, (of) => of, (of) => of, (of) => of, (of) => of, (of) => of]
  t.equal(shapes.length, 8)
})

t.test('every verb exits 0 when all is well, and gives JSON when asked', async (t) => {
  const { stateDir } = await agent(t)
  for (const verb of VERBS) {
    const plain = await weir(verb, '--state-dir', stateDir)
    t.match(plain, { exitCode: 0, err: '' }, verb)
    t.ok(plain.out.length > 0, verb)
    const json = await weir(verb, '--json', '--state-dir', stateDir)
    t.match(json, { exitCode: 0, err: '' }, verb)
    t.equal(typeof JSON.parse(json.out), 'object', verb)
  }
})

t.test('tables are aligned and say what a person wants to know', async (t) => {
  const { stateDir } = await agent(t)
  const pods = await weir('pods', '--state-dir', stateDir)
  t.equal(
    pods.out,
    'POD         STATE     IDENTITY  ADDRESSES  PROXIES  CONNECTIONS  VERIFIED  REPAIRS  DETAIL\n' +
      'shop/web-1  enrolled  shop/web  10.1.0.2   0        3            10 s ago  0\n',
  )
  const routes = await weir('routes', '--state-dir', stateDir)
  t.equal(
    routes.out,
    'KIND       ROUTE         PARENT        RULE    MATCHES          BACKENDS\n' +
      'HTTPRoute  shop/reviews  shop/reviews  canary  /* x-canary:yes  100% shop/reviews-v2:80\n' +
      '                                       split   /*               ' +
      '90% shop/reviews-v1:80, 10% shop/reviews-v2:80, 0% shop/missing:80 (500: no such Service)\n',
  )
  const policies = await weir('policies', '--state-dir', stateDir)
  t.match(policies.out, 'shop/only-web  ALLOW   namespace shop  1\n')
  const status = await weir('status', '--state-dir', stateDir)
  t.match(status.out, 'Ready    yes\n')
  t.match(status.out, 'No problems\n')
})

t.test('pods are those of this node, and with --all the others with their node', async (t) => {
  const { backend, stateDir } = await agent(t)
  const [pod] = backend.podList
  if (pod === undefined) throw new Error('The fake backend has no pod')
  backend.podList = [
    pod,
    { ...pod, name: 'far', node: 'node-2', state: 'outside' },
    { ...pod, name: 'plain', node: 'node-2', state: 'outside', optedIn: false },
    { ...pod, name: 'waits', node: '', state: 'outside' },
  ]
  const names = async (...argv: string[]) => {
    const ran = await weir('pods', '--json', ...argv, '--state-dir', stateDir)
    return (JSON.parse(ran.out) as PodAnswer[]).map(({ name }) => name)
  }
  t.strictSame(await names(), ['web-1'])
  t.strictSame(await names('--all'), ['far', 'plain', 'waits', 'web-1'])
  const all = await weir('pods', '--all', '--state-dir', stateDir)
  t.match(all.out, /^POD +NODE +STATE .*\nshop\/far +node-2 +elsewhere /)
  t.match(
    all.out,
    /\nshop\/plain +node-2 +not in mesh .*\nshop\/waits +- +unscheduled .*\nshop\/web-1 +node-1 +enrolled /,
  )
  t.notMatch((await weir('pods', '--state-dir', stateDir)).out, 'far')
  backend.podList = [{ ...pod, node: 'node-2' }]
  t.equal((await weir('pods', '--state-dir', stateDir)).out, 'No pods on node-1; 1 elsewhere: weir pods --all\n')
  t.match((await weir('pods', '--help')).out, '--all')
})

t.test('all about one pod: identity, certificate, what applies, the rules of the kernel', async (t) => {
  const { stateDir, backend } = await agent(t)
  const { exitCode, out } = await weir('pods', 'shop/web-1', '--state-dir', stateDir)
  t.equal(exitCode, 0)
  t.match(out, /^pod +shop\/web-1\nnode +node-1 \(this one\)\nstate +enrolled, verified /)
  t.match(
    out,
    /\nidentity +spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web\ncertificate +valid, serial AB12, ends in 1[12] h\n/,
  )
  t.match(out, /\nPOLICY +KIND +SAYS\nshop\/only-web +AuthorizationPolicy +ALLOW, 1 rule\n/)
  t.match(out, /\nIPv4 rules in the kernel:\n\*nat\n-A OUTPUT -j WEIR_OUTPUT\nCOMMIT\n$/)
  const json = await weir('pods', 'shop/web-1', '--json', '--state-dir', stateDir)
  t.match(JSON.parse(json.out), { name: 'web-1', policies: [{ name: 'shop/only-web' }] })
  t.match(await weir('pods', 'shop/nobody', '--state-dir', stateDir), { exitCode: 1, err: /^No pod shop\/nobody; / })
  backend.podList = backend.podList.map((pod) => ({ ...pod, state: 'failed' as const, detail: 'no\u001b[2Jnetns' }))
  const failed = await weir('pods', 'shop/web-1', '--state-dir', stateDir)
  t.match(failed, { exitCode: 1, out: /\nstate +failed, .*: no\?\[2Jnetns\n/ })
})

t.test('no pod here and pods elsewhere is not taken for pods that did not opt in', async (t) => {
  const { backend, stateDir } = await agent(t)
  backend.podList = backend.podList.map((pod) => ({ ...pod, node: 'node-2', state: 'outside' }))
  const message = 'no Pod has spec.nodeName node-1; the manifests name node-2: is --node right?'
  backend.problemList = [{ severity: 'warning', subject: '--node node-1', message, remedy: '' }]
  const check = await weir('check', '--state-dir', stateDir)
  t.match(check.out, 'warning  --node node-1: no Pod has spec.nodeName node-1')
  t.notMatch(check.out, 'annotate a Pod')
})

t.test('policies lists TrafficPolicies with the Services they apply to', async (t) => {
  const { stateDir, backend } = await agent(t)
  const policy = { kind: 'traffic-policy', namespace: 'shop', rateLimits: [] } as const
  const retry = {
    attempts: 1,
    codes: [503],
    connectFailure: false,
    reset: false,
    timeout: false,
    backoffMs: 1,
    maxBackoffMs: 1,
  }
  backend.world.apply({
    version: 9,
    reset: false,
    remove: [],
    upsert: [
      { ...policy, name: 'old', createdAt: '2020-01-01T00:00:00Z', services: ['web'], retry },
      { ...policy, name: 'young', createdAt: '2024-01-01T00:00:00Z', services: ['web', 'db'] },
    ],
  })
  const { out } = await weir('policies', '--state-dir', stateDir)
  t.match(out, /shop\/old +Service web +retry/)
  t.match(out, /shop\/young +Service web \(not applied\), Service db +-/)
})

t.test('policies lists PeerAuthentications with what they decide', async (t) => {
  const { backend, stateDir } = await agent(t)
  t.match((await weir('policies', '--state-dir', stateDir)).out, '\nNo PeerAuthentications: mutual TLS and plain')
  backend.peerAuthenticationList = [
    {
      namespace: 'shop',
      name: 'default',
      scope: 'namespace',
      selector: {},
      mode: 'STRICT',
      ports: { 8080: 'PERMISSIVE' },
      pods: ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `shop/${name}`),
    },
  ]
  const { out } = await weir('policies', '--state-dir', stateDir)
  t.match(out, /\nPEERAUTHENTICATION +MODE +SELECTS +PORTS +DECIDES FOR\n/)
  t.match(
    out,
    /\nshop\/default +STRICT +namespace shop +8080=PERMISSIVE +shop\/a, shop\/b, shop\/c, shop\/d, shop\/e and 2 more\n/,
  )
  const json: unknown = JSON.parse((await weir('policies', '--json', '--state-dir', stateDir)).out)
  t.match(json, [{ kind: 'AuthorizationPolicy' }, { kind: 'PeerAuthentication', mode: 'STRICT' }])
})

t.test('explain tells the steps in words', async (t) => {
  const { stateDir } = await agent(t)
  const argv = ['--from', 'shop/web-1', '--to', 'http://reviews/', '--header', 'x-canary: yes', '--method', 'GET']
  const ran = await weir('explain', ...argv, '--state-dir', stateDir)
  t.match(ran, { exitCode: 0, err: '' })
  t.match(ran.out, /rule canary .*matches and decides/)
  const json = await weir('explain', ...argv, '--json', '--state-dir', stateDir)
  t.match(JSON.parse(json.out), { route: 'shop/reviews', rule: 'canary' })
  t.match(await weir('explain', '--from', 'shop/nobody', '--to', 'http://x', '--state-dir', stateDir), {
    exitCode: 64,
    out: '',
    err: /^Pod shop\/nobody is not known[^\n]*\n$/,
  })
  for (const [from, header, err] of [
    ['web-1', 'a: b', /^Field from/],
    ['shop/web-1', 'nothing', /^Field header/],
  ] as const) {
    const wrong = ['--from', from, '--to', 'http://reviews', '--header', header]
    t.match(await weir('explain', ...wrong, '--state-dir', stateDir), { exitCode: 64, out: '', err })
  }
  const denied = ['--from', 'shop/web-1', '--to', 'http://reviews/', '--method', 'DELETE', '--state-dir', stateDir]
  t.match(await weir('explain', ...denied), { exitCode: 0, out: /Denied/ })
  const help = await weir('explain', '--help')
  t.match(help.out, /For example:\n {2}weir explain --from /)
  t.match(help.out, /Exit codes: 0 explained .*denied.* 64 wrong usage/)
  t.match(await weir('explain', '--from', 'shop/web-1'), { exitCode: 64, err: /needs --from .* and --to/ })
})

t.test('problems make status and check exit 1, and are shown with their remedy', async (t) => {
  const { backend, stateDir } = await agent(t)
  backend.problemList = [
    {
      severity: 'error',
      subject: 'shop.yaml: HTTPRoute shop/reviews',
      message: 'spec.rules: required',
      remedy: 'fix it',
    },
  ]
  const status = await weir('status', '--state-dir', stateDir)
  t.match(status, { exitCode: 1, out: /error: shop.yaml: HTTPRoute shop\/reviews: spec.rules: required \(fix it\)/ })
  const check = await weir('check', '--state-dir', stateDir)
  t.match(check, { exitCode: 1, out: /failure {2}shop.yaml: .*: fix it\n/ })
})

t.test('a warning is shown, and is no failure', async (t) => {
  const { backend, stateDir } = await agent(t)
  backend.problemList = [{ severity: 'warning', subject: 'Service shop/x', message: 'matches no Pod', remedy: '' }]
  const status = await weir('status', '--state-dir', stateDir)
  t.match(status, { exitCode: 0, out: '  warning: Service shop/x: matches no Pod\n' })
  const check = await weir('check', '--state-dir', stateDir)
  t.match(check, { exitCode: 0, out: 'warning  Service shop/x: matches no Pod\n' })
})

t.test('check finds pods that are not intercepted, not verified or repaired', async (t) => {
  const { backend, stateDir } = await agent(t)
  const [pod] = backend.podList
  if (pod === undefined) throw new Error('The fake backend has no pod')
  const cases: [Partial<PodStatus>, number, RegExp][] = [
    [{}, 0, /ok {7}pod shop\/web-1 enrolled, rules verified\n/],
    [
      { state: 'failed', detail: 'no such netns' },
      1,
      /failure {2}pod shop\/web-1 is not enrolled \(failed\): no such netns\n/,
    ],
    [{ state: 'enrolling' }, 0, /warning {2}pod shop\/web-1 is enrolling/],
    [{ verifiedAt: 900_000 }, 1, /failure {2}.* not verified/],
    [{ verifiedAt: 0 }, 1, /failure {2}.* not verified/],
    [{ repairs: 2 }, 0, /warning {2}.* after 2 repairs/],
    [{ optedIn: false, state: 'outside' }, 0, /warning {2}no pod of this node has opted in/],
  ]
  for (const [changes, exitCode, line] of cases) {
    backend.podList = [{ ...pod, ...changes }]
    t.match(await weir('check', '--state-dir', stateDir), { exitCode, out: line }, JSON.stringify(changes))
  }
})

t.test('status lists the certificates; check says how long they last, and what keeps new ones away', async (t) => {
  const { backend, stateDir } = await agent(t)
  const [web] = backend.identityList
  if (web === undefined) throw new Error('The fake backend has no identity')
  const status = await weir('status', '--state-dir', stateDir)
  t.match(status.out, /sa\/web +valid +AB12 +1970-01-01T11:46:50.000Z \(in 12 h\)\n/)
  const cart = { ...web, spiffeId: 'spiffe://cluster.local/ns/shop/sa/cart' }
  const renewed = { nextTryMs: 1_010_000 + 3_600_000 * 3 }
  backend.identityList = [web, { ...cart, state: 'revoked', ...renewed }]
  const { out } = await weir('status', '--state-dir', stateDir)
  t.match(
    out,
    /sa\/cart .* refused by others until it is renewed 1970-01-01T03:16:50.000Z \(in 3 h\); .* restart this agent/,
  )
  backend.identityList = [{ ...web, notAfterMs: 1_010_000 + 24 * 3_600_000 - 900 }]
  t.match((await weir('status', '--state-dir', stateDir)).out, /\(in 24 h\)/, 'a certificate just made')
  const away = { lastError: 'Cannot reach the CA at ca:15012: refused', failingSinceMs: 900_000 }
  const past = { notAfterMs: 1_000_000 }
  const cases: readonly (readonly [object, number, string])[] = [
    [{}, 0, 'ok       certificates: 2 valid, the first ends in 12 h (own key, in memory)\n'],
    [
      { state: 'failing', notAfterMs: 1_010_000 + 7_200_000, ...away },
      1,
      'failure  certificates: 1 valid, 1 valid but not renewed, the first ends in 2 h (own key, in memory); ' +
        'no new ones since 1970-01-01T00:15:00.000Z: Cannot reach the CA at ca:15012: refused\n',
    ],
    [{ state: 'expired', ...past, ...away }, 1, 'failure  certificates: 1 valid, 1 expired, the first ends in 12 h'],
    [{ state: 'expired', ...past }, 1, 'see the agent log for why it was not renewed\n'],
    [{ state: 'pending', notAfterMs: 0, serial: '' }, 0, 'warning  certificates: 1 valid, 1 not there yet'],
    [{ state: 'pending', notAfterMs: 0, serial: '', ...away }, 1, 'no new ones since'],
    [{ state: 'revoked' }, 1, 'failure  certificates: 1 valid, 1 revoked'],
  ]
  for (const [changes, exitCode, text] of cases) {
    backend.identityList = [web, { ...cart, ...changes }]
    const check = await weir('check', '--state-dir', stateDir)
    t.equal(check.exitCode, exitCode, JSON.stringify(changes))
    t.ok(check.out.includes(text), check.out)
  }
})

t.test('a failed pod makes pods exit 1', async (t) => {
  const { backend, stateDir } = await agent(t)
  backend.podList = backend.podList.map((pod) => ({ ...pod, state: 'failed', detail: 'no such netns' }))
  t.match(await weir('pods', '--state-dir', stateDir), { exitCode: 1, out: /no such netns/ })
})

t.test('names from the cluster cannot command the terminal', async (t) => {
  const { backend, stateDir } = await agent(t)
  backend.podList = backend.podList.map((pod) => ({ ...pod, state: 'failed', detail: 'x\x1b[2Jy\n' }))
  t.match(await weir('pods', '--state-dir', stateDir), { out: /x\?\[2Jy\?\n$/ })
})

t.test('an agent that is not there is exit 69 and one line with the socket and the remedy', async (t) => {
  const stateDir = directory(t)
  const line = `Cannot reach the agent at ${stateDir}/admin.sock: no agent is running there: start \`weir agent\`, or name its directory with --state-dir\n`
  for (const verb of VERBS) {
    t.strictSame(await weir(verb, '--state-dir', stateDir), { exitCode: 69, out: '', err: line }, verb)
  }
  const check = await weir('check', '--json', '--state-dir', stateDir)
  t.match(JSON.parse(check.out), [{ result: 'failure', what: 'agent reachable' }])
})

t.test('answers that are no answers are one line too', async (t) => {
  const stateDir = directory(t)
  let answer: readonly [number, string] = [500, '{"error":"boom"}']
  const server = createServer((_, response) => void response.writeHead(answer[0]).end(answer[1]))
  server.listen(join(stateDir, 'admin.sock'))
  await once(server, 'listening')
  t.teardown(() => server.close())
  t.match(await weir('pods', '--state-dir', stateDir), { exitCode: 1, err: 'boom\n' })
  answer = [200, 'not json']
  t.match(await weir('pods', '--state-dir', stateDir), { exitCode: 1, err: /is not JSON\n$/ })
  answer = [504, '<html>']
  t.match(await weir('metrics', '--state-dir', stateDir), { exitCode: 1, err: /answered 504/ })
})

t.test('wrong usage is exit 64 and one line, with what was probably meant', async (t) => {
  const wrong: [string[], RegExp][] = [
    [['stauts'], /no verb "stauts"; did you mean status\? \(see weir help\)$/],
    [['frobnicate'], /no verb "frobnicate" \(see weir help\)$/],
    [['pods', '--jsno'], /has no flag --jsno; did you mean --json\?/],
    [['pods', '-x'], /has no flag -x/],
    [['routes', 'web'], /takes no argument "web"/],
    [['pods', 'web'], /expected NAMESPACE\/NAME, got "web"$/],
    [['pods', '--json=yes'], /flag --json takes no value/],
    [['pods', '--state-dir'], /flag --state-dir needs a value/],
    [['explain', '--from', '--to', 'x'], /flag --from needs a value/],
    [['help', 'podz'], /did you mean pods\?/],
    [['ca', 'revok', '--ca-dir', 'x'], /^weir ca has no verb "revok"; did you mean weir ca revoke\?/],
    [['ca', 'list'], /^weir ca has no verb "list" \(see weir ca --help\)$/],
  ]
  for (const [argv, line] of wrong) {
    const ran = await weir(...argv)
    t.match(ran, { exitCode: 64, out: '', err: /^[^\n]+\n$/ }, argv.join(' '))
    t.match(ran.err.trimEnd(), line)
  }
})

t.test('help lists every verb, and each has its own', async (t) => {
  const list = await weir('help')
  t.strictSame(await weir(), list)
  t.strictSame(await weir('--help'), list)
  t.match(list.out, '\n  agent ')
  for (const verb of [...VERBS, 'explain']) {
    t.match(list.out, `\n  ${verb} `)
    const own = await weir(verb, '--help')
    t.match(own, { exitCode: 0, err: '' })
    t.match(own.out, `Usage: weir ${verb}`)
    t.strictSame(await weir('help', verb), own)
  }
})

t.test('agent gets its arguments as they are, and its exit code is ours', async (t) => {
  t.strictSame(await weir('agent', '--node', 'n'), { exitCode: 3, out: 'agent --node n', err: '' })
  t.strictSame(await weir('help', 'agent'), { exitCode: 3, out: 'agent --help', err: '' })
  t.strictSame(await weir('ca', '--listen', ':1'), { exitCode: 4, out: 'ca --listen :1', err: '' })
  t.strictSame(await weir('help', 'ca'), { exitCode: 4, out: 'ca --help', err: '' })
  t.strictSame(await weir('ca', 'revoke', 'A1'), { exitCode: 4, out: 'ca revoke A1', err: '' })
  t.strictSame(await weir('help', 'ca', 'revoke'), { exitCode: 4, out: 'ca revoke --help', err: '' })
})

t.test('the command itself starts, prints its version and sets the exit code', async (t) => {
  const main = new URL('../../../src/cli/main.ts', import.meta.url).pathname
  const run = (...argv: string[]) => spawnSync(process.execPath, [main, ...argv], { encoding: 'utf8' })
  t.match(run('version'), { status: 0, stdout: /^weir \d+\.\d+\.\d+\n$/, stderr: '' })
  t.match(JSON.parse(run('version', '--json').stdout), { version: /^\d/ })
  t.match(run('nonsense'), { status: 64, stdout: '' })
})

t.test('check ends with what the doctor found, whose failures count', async (t) => {
  const { backend, stateDir } = await agent(t)
  const remedy = 'grow it'
  backend.doctorLines = [
    { result: 'ok', what: 'kernel 6.1', remedy: '' },
    { result: 'warning', what: 'a small limit', remedy },
  ]
  const check = await weir('check', '--state-dir', stateDir)
  t.match(check, { exitCode: 0, out: /no problems\nok {7}kernel 6.1\nwarning {2}a small limit: grow it\n$/ })
  backend.doctorLines = [{ result: 'failure', what: 'no kernel', remedy }]
  t.match(await weir('check', '--state-dir', stateDir), { exitCode: 1, out: /failure {2}no kernel: grow it\n$/ })
  const json = await weir('check', '--json', '--state-dir', stateDir)
  t.strictSame((JSON.parse(json.out) as unknown[]).at(-1), backend.doctorLines[0])
})

t.test('check --preflight asks no agent, and hands its flags on', async (t) => {
  const stateDir = directory(t)
  const flags = ['--kubeconfig', 'admin.conf', '--cni-conf-dir', '/c', '--cni-bin-dir', '/b', '--state-dir', stateDir]
  const ran = await weir('check', '--preflight', '--json', ...flags)
  t.match(ran, { exitCode: 0, err: '' })
  const [line] = JSON.parse(ran.out) as { what: string }[]
  t.match(JSON.parse(line?.what ?? ''), {
    stateDir,
    kubeconfig: 'admin.conf',
    cniConfDir: '/c',
    cniBinDir: '/b',
    version: /^\d/,
  })
  t.match(await weir('check', '--cni-conf-dir', '/c', '--state-dir', stateDir), {
    exitCode: 64,
    err: /^weir check takes --cni-conf-dir only with --preflight[^\n]*\n$/,
  })
})
