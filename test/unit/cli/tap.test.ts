/** `weir tap`: what it asks, what it prints, and what it does when the agent ends. */
import t from 'tap'
import type { Listened } from '../../../src/cli/listen.ts'
import { tapVerb } from '../../../src/cli/tap.ts'
import { TapText } from '../../../src/cli/tap-text.ts'

const REQUEST = {
  kind: 'request',
  level: 30,
  time: '2026-11-21T12:00:01.123Z',
  source: 'shop/frontend',
  sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/frontend',
  destination: 'shop/reviews',
  destinationService: 'reviews.shop.svc.cluster.local',
  upstream: '10.1.0.9:8080',
  method: 'GET',
  path: '/reviews/1',
  status: 200,
  flags: '-',
  durationMs: 3.2,
  traceId: '4bf92f35',
}
const render = (event: object, options = { isTerminal: false, wide: false }) =>
  new TapText(options).render(event as Readonly<Record<string, unknown>>)

t.test('a line for a request: when, who, what, how it went', async (t) => {
  t.equal(render(REQUEST), '12:00:01.123Z shop/frontend -> shop/reviews  GET /reviews/1 200 3.2 ms - trace=4bf92f35\n')
  const refused = {
    ...REQUEST,
    level: 40,
    status: 403,
    flags: 'RBAC',
    policy: 'shop/only-web',
    reason: 'no rule allows it',
  }
  t.equal(
    render({ ...refused, destination: '', traceId: '' }),
    '12:00:01.123Z shop/frontend -> shop/reviews  GET /reviews/1 403 3.2 ms RBAC policy=shop/only-web (no rule allows it)\n',
  )
  t.match(render({ ...REQUEST, source: '', sourceAddress: '10.0.0.1' }), / 10\.0\.0\.1 -> /)
  t.match(render({ ...REQUEST, grpcStatus: 14, durationMs: 1_500 }), / 200 grpc 14 1\.50 s - /)
  t.match(
    render(REQUEST, { isTerminal: false, wide: true }),
    / from-id=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/frontend /,
  )
})

t.test('connections, what is missing, and header fields', async (t) => {
  const connection = { ...REQUEST, kind: 'connection', protocol: 'tcp', bytesIn: 425, bytesOut: 3 << 10, traceId: '' }
  t.match(render(connection), / {2}connection 425 B in 3\.0 KiB out 3\.2 ms -\n$/)
  t.match(render({ ...connection, kind: 'opened' }), / {2}connection opened -\n$/)
  t.match(render({ kind: 'lost', events: 12, why: 'rate' }), /^… 12 more not shown: .*--rate/)
  t.match(render({ kind: 'lost', events: 12, why: 'slow' }), /^… 12 more missing here/)
  const headers = {
    requestHeaders: { accept: '*/*' },
    responseHeaders: { 'set-cookie': '[redacted]' },
    headersCut: true,
  }
  t.ok(
    render({ ...REQUEST, ...headers }).endsWith(
      '\n    > accept: */*\n    < set-cookie: [redacted]\n    … and more fields\n',
    ),
  )
  t.equal(render({ kind: 'live', node: 'node-1' }), '')
  t.match(render({ kind: 'live', node: 'node-1' }, { isTerminal: true, wide: false }), /Node node-1: .*Ctrl-C/)
})

t.test('columns stay where they are once something was as wide', async (t) => {
  const text = new TapText({ isTerminal: false, wide: false })
  text.render({ ...REQUEST, source: 'shop/a-long-name' })
  t.match(text.render(REQUEST), /Z shop\/frontend {4}-> shop\/reviews {2}GET/)
})

t.test('what strangers send is not obeyed by a terminal, nor taken for a line of its own', async (t) => {
  const evil = '\u001b[2J\n12:00 all is well\u009b1m\u2028'
  const event = { ...REQUEST, path: evil, reason: evil, requestHeaders: { [evil]: evil } }
  for (const isTerminal of [false, true]) {
    const shown = render(event, { isTerminal, wide: true })
    t.equal(shown.split('\n').length, 3, 'one line, one header field')
    t.notMatch(shown, /\u001b\[2J|\u009b|\u2028/)
  }
})

interface Step {
  readonly messages?: readonly object[]
  readonly answer: Listened
}

async function run(values: object, steps: readonly Step[], json = false, words: readonly string[] = []) {
  const asked: string[] = []
  let printed = ''
  const left = [...steps]
  const result = await tapVerb.run({
    values,
    words,
    json,
    isTerminal: false,
    listen: async (path: string, tell: (message: string) => Promise<boolean>) => {
      asked.push(path)
      const step = left.shift()
      for (const message of step?.messages ?? []) await tell(`${JSON.stringify(message)}\n`)
      return step?.answer ?? { kind: 'ended' }
    },
    print: async (text: string) => {
      printed += text
      return true
    },
  } as unknown as Parameters<typeof tapVerb.run>[0])
  return { result, asked, printed }
}

t.test('flags become the query of /tap; events are printed as they are with --json', async (t) => {
  const values = { from: 'a', 'path-regex': '^/x', header: ['x-a=1', 'x-b=2'], headers: true, limit: '3', wide: true }
  const messages = [{ kind: 'live' }, REQUEST]
  const { asked, printed, result } = await run(values, [{ messages, answer: { kind: 'ended' } }], true, ['shop/web'])
  t.same(
    [...new URLSearchParams(asked[0]?.slice('/tap?'.length))],
    [
      ['end', 'shop/web'],
      ['from', 'a'],
      ['path-regex', '^/x'],
      ['limit', '3'],
      ['header', 'x-a=1'],
      ['header', 'x-b=2'],
      ['headers', 'true'],
    ],
  )
  t.equal(printed, messages.map((message) => `${JSON.stringify(message)}\n`).join(''))
  t.same(result, { exitCode: 0, output: '' })
})

t.test('an agent that ends and comes back is asked for the rest; that something is missing is told', async (t) => {
  const live = { kind: 'live' }
  const broken: Listened = { kind: 'broken', line: 'gone' }
  const { asked, printed, result } = await run({ limit: '3' }, [
    { messages: [live, REQUEST], answer: broken },
    { answer: { kind: 'unreachable', line: 'no agent' } },
    { messages: [live, REQUEST, REQUEST], answer: { kind: 'ended' } },
  ])
  t.same(asked, ['/tap?limit=3', '/tap?limit=2', '/tap?limit=2'])
  t.same(
    printed.split('\n').map((line) => line.slice(0, 12)),
    ['12:00:01.123', '… the agent ', '12:00:01.123', '12:00:01.123', ''],
  )
  t.equal(result.exitCode, 0)
})

t.test('an agent that is not there, refuses or has a problem ends it', async (t) => {
  t.match(await run({}, [{ answer: { kind: 'unreachable', line: 'no agent' } }]), {
    result: { exitCode: 69, error: 'no agent' },
  })
  t.match(await run({}, [{ answer: { kind: 'refused', status: 400, text: '{"error":"Parameter status: x"}' } }]), {
    result: { exitCode: 1, error: '--status: x (see weir tap --help)' },
  })
  const problem = { kind: 'problem', problem: 'There are 16 taps already' }
  t.match(await run({}, [{ messages: [problem], answer: { kind: 'ended' } }]), {
    result: { exitCode: 1, error: 'There are 16 taps already' },
    printed: '',
  })
})
