/** `weir tap` and /tap against a running agent: what is shown of real traffic, to whom, and what never is. */
import { once } from 'node:events'
import { join } from 'node:path'
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { GrpcPodClient, grpcServerIn } from '../support/grpc-pods.ts'
import { http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'
import { connectIn, listenIn } from '../support/raw-socket.ts'
import { openShop } from '../support/shop.ts'
import { TapReader } from '../support/tap-reader.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const other = await shop.pod('other')
const web = await shop.pod('web')
await shop.serve(web)
const echo = await listenIn(web.netnsPath, 7000, async (connection) => {
  await connection.send(await connection.until('\n'))
  connection.end()
})
t.teardown(() => echo[Symbol.asyncDispose]())
const h2 = await http2ServerIn(web.netnsPath, 7002, (stream) => {
  stream.respond({ ':status': 200, 'set-cookie': 'sid=h2-secret', 'x-shown': 'of-h2' })
  stream.end('hello')
})
t.teardown(() => h2[Symbol.asyncDispose]())
const calls = await grpcServerIn(web.netnsPath, 7001, {
  Unary: (_call: unknown, done: grpc.sendUnaryData<Buffer>) => done({ code: grpc.status.NOT_FOUND }),
  Up: () => {},
  Down: () => {},
  Both: () => {},
})
t.teardown(() => calls[Symbol.asyncDispose]())
const service = shop.service('web', {
  ports: [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'bytes', port: 7000 },
    { name: 'grpc', port: 7001 },
    { name: 'http2', port: 7002 },
  ],
})
const agent = await shop.start(['--tap-redact', 'X-Internal', '--access-log', 'off'])
const admin = join(lab.node.stateDir, 'admin.sock')
const tap = async (query: string) => {
  const reader = new TapReader(admin, query)
  t.teardown(() => reader[Symbol.dispose]())
  return reader.live()
}
const get = (target: string, headers: Record<string, string> = {}, from = client) =>
  shop.ask(from, service.ipv4, 80, { target, headers })
const openTaps = async () => {
  const status = JSON.parse((await agent.cli('status', ['--json'])).stdout)
  return status.proxies[0].taps
}

t.test('a request of HTTP/1.1 is told of with both ends, their identities, how it went and its trace', async (t) => {
  using reader = await tap('')
  await get('/reviews/1?user=7', { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` })
  const event = await reader.until(({ kind }) => kind === 'request')
  t.match(event, {
    kind: 'request',
    node: lab.node.name,
    source: 'shop/client',
    sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/client',
    destination: 'shop/web',
    destinationIdentity: 'spiffe://cluster.local/ns/shop/sa/web',
    destinationService: 'web.shop.svc.cluster.local',
    method: 'GET',
    path: '/reviews/1?…',
    status: 200,
    flags: '-',
    traceId: TRACE,
  })
  t.equal(event['requestHeaders'], undefined, 'headers only where they are asked for')
  t.notMatch(reader.text, /user=7/, 'the query stays where it is')
})

t.test('requests of HTTP/2, calls of gRPC and opaque connections are told of', async (t) => {
  using reader = await tap('headers=true')
  using client2 = await http2ClientIn(client.netnsPath, service.ipv4, 7002)
  t.equal((await client2.ask({ ':path': '/two', authorization: 'Bearer h2-secret', 'x-shown': 'asked' })).status, 200)
  t.match(await reader.until(({ path }) => path === '/two'), {
    status: 200,
    version: 'HTTP/2',
    requestHeaders: { authorization: '[redacted]', 'x-shown': 'asked' },
    responseHeaders: { 'set-cookie': '[redacted]', 'x-shown': 'of-h2' },
  })
  await using caller = new GrpcPodClient(client.netnsPath, service.ipv4, 7001)
  await t.rejects(caller.unary('x'))
  t.match(await reader.until(({ protocol }) => protocol === 'grpc'), {
    kind: 'request',
    path: '/echo.Echo/Unary',
    status: 200,
    grpcStatus: grpc.status.NOT_FOUND,
  })
  {
    using bytes = await connectIn(client.netnsPath, service.ipv4, 7000)
    await bytes.send('hel')
    await reader.until(({ kind }) => kind === 'opened')
    await bytes.send('lo\n')
    t.equal(await bytes.until('\n'), 'hello\n')
  }
  t.match(
    reader.events.find(({ kind }) => kind === 'opened'),
    { source: 'shop/client', destination: 'shop/web' },
  )
  t.match(await reader.until(({ kind }) => kind === 'connection'), {
    source: 'shop/client',
    destination: 'shop/web',
    bytesIn: 6,
    bytesOut: 6,
    protocol: 'tcp',
  })
  t.notMatch(reader.text, /h2-secret/)
})

t.test('header fields are shown when asked for, but no secret ever is', async (t) => {
  using reader = await tap('headers=true')
  const secrets = {
    authorization: 'Basic s3cr3t-1',
    cookie: 'sid=s3cr3t-2',
    'x-api-key': 's3cr3t-3',
    'x-internal': 's3cr3t-4',
    referer: 'http://user:s3cr3t-5@shop/login?code=s3cr3t-6',
    'x-carried': 'Bearer s3cr3t-7',
  }
  await get('/login;jsessionid=s3cr3t-8?token=s3cr3t-9', { ...secrets, 'x-shown': 'asked' })
  const event = await reader.until(({ kind }) => kind === 'request')
  t.match(event, {
    path: '/login;jsessionid=[redacted]?…',
    requestHeaders: {
      authorization: '[redacted]',
      cookie: '[redacted]',
      'x-api-key': '[redacted]',
      'x-internal': '[redacted]',
      'x-carried': '[redacted]',
      referer: 'http://[redacted]@shop/login?…',
      'x-shown': 'asked',
    },
    responseHeaders: { 'x-by': 'web' },
  })
  t.notMatch(reader.text, /s3cr3t/)
})

t.test('a refusal by a policy says which policy and why', async (t) => {
  await shop.apply(`
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-others, namespace: shop }
spec: { selector: { matchLabels: { app: web } }, action: DENY, rules: [{ from: [{ source: { serviceAccounts: [other] } }] }] }`)
  using reader = await tap('flags=RBAC&headers=true')
  t.equal((await get('/allowed')).status, 200)
  t.equal((await get('/denied', {}, other)).status, 403)
  const event = await reader.until(({ kind }) => kind === 'request')
  t.match(event, { path: '/denied', status: 403, flags: 'RBAC', policy: 'shop/no-others', responseHeaders: {} })
  t.match(event['reason'], /no-others/)
  await shop.apply()
})

t.test('readers with other filters get what they asked for, and nothing else', async (t) => {
  using byPath = await tap('path=/reviews')
  using byRegex = await tap('path-regex=%5E/(a%7Cb)$')
  using byEnd = await tap('from=other&to=shop/web&method=GET,PUT')
  using byHeader = await tap('header=x-canary=yes&namespace=shop')
  using byStatus = await tap('status=4xx,500-599&service=web')
  using slowOnes = await tap('min-duration=100ms&end=unknown')
  using all = await tap('end=client')
  using allOfOther = await tap('end=other')
  await get('/reviews/1')
  await get('/a')
  await get('/ab', { 'x-canary': 'yes' })
  await get('/b?a', {}, other)
  await get('/last')
  await get('/last', {}, other)
  await Promise.all([all, allOfOther].map((reader) => reader.until(({ path }) => path === '/last')))
  const paths = (reader: TapReader) => reader.shown.map(({ path }) => path)
  t.same(paths(all), ['/reviews/1', '/a', '/ab', '/last'])
  t.same(paths(allOfOther), ['/b?…', '/last'])
  // Each proxy tells all its taps at once.
  t.same(paths(byPath), ['/reviews/1'])
  t.same(paths(byRegex), ['/a', '/b?…'])
  t.same(paths(byEnd), ['/b?…', '/last'])
  t.same(paths(byHeader), ['/ab'])
  t.same([paths(byStatus), paths(slowOnes)], [[], []])
})

t.test('a tap ends after its limit; proxies look for as long as somebody reads', async (t) => {
  const first = await tap('limit=2')
  const second = await tap('end=client')
  t.equal(await openTaps(), 2)
  for (const path of ['/1', '/2', '/3']) await get(path)
  t.equal(await first.closed, 1000)
  t.same(
    first.shown.map(({ path }) => path),
    ['/1', '/2'],
  )
  second.socket.terminate()
  while ((await openTaps()) > 0);
  t.pass('with its reader the tap has ended')
})

t.test('a slow reader is told how many events it lost; another gets them all, and traffic does not wait', async (t) => {
  using slow = await tap('rate=1000&headers=true')
  using quick = await tap('rate=1000&headers=true')
  slow.socket.pause()
  const filler = Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`x-filler-${i}`, '.'.repeat(1000)]))
  let sent = 0
  // Until what is between has no more room.
  const { socket } = slow
  for (let round = 0; round < 12; round++) {
    await Promise.all(Array.from({ length: 25 }, () => get(`/n${sent++}`, filler)))
    await quick.until(({ path }) => path === `/n${sent - 1}`)
  }
  t.equal(new Set(quick.shown.map(({ path }) => path)).size, sent, 'none is missing there')
  t.notOk(quick.events.some(({ kind }) => kind === 'lost'))
  socket.resume()
  const lost = await slow.until(({ kind }) => kind === 'lost')
  t.match(lost, { why: 'slow', events: Number })
  await get('/after')
  await slow.until(({ path }) => path === '/after')
  const missing = slow.events.filter(({ kind }) => kind === 'lost').reduce((sum, { events }) => sum + Number(events), 0)
  t.equal(slow.shown.length + missing, sent + 1, 'what came and what is missing are all')
})

t.test('more than the rate are counted, not shown', async (t) => {
  using reader = await tap('rate=5')
  await Promise.all(Array.from({ length: 40 }, (_, i) => get(`/r${i}`)))
  t.match(await reader.until(({ kind }) => kind === 'lost'), { why: 'rate' })
  t.ok(reader.shown.length < 40)
})

t.test('a proxy that is started again tells open taps, too', async (t) => {
  using reader = await tap('path=/again')
  const from = agent.logs.length
  process.kill(await agent.proxyPid(), 'SIGKILL')
  await agent.waitFor('proxy up', { from })
  while ((await get('/again').catch(() => ({ status: 0 }))).status !== 200);
  t.match(await reader.until(({ kind }) => kind === 'request'), { path: '/again' })
})

t.test('for people: a line each, header fields below; mistakes are told with the remedy', async (t) => {
  const running = agent.cli('tap', ['client', '--limit', '1', '--headers', '--wide'])
  while ((await openTaps()) === 0);
  await get('/people', { authorization: 'Bearer s3cr3t' })
  const { stdout, code } = await running
  t.equal(code, 0)
  t.match(
    stdout,
    /^\d\d:\d\d:\d\d\.\d{3}Z shop\/client -> shop\/web {2}GET \/people 200 [\d.]+ ms - trace=[0-9a-f]{32} service=shop\/web /,
  )
  t.match(stdout, /\n {4}> authorization: \[redacted\]\n/)
  t.match(stdout, /\n {4}< x-by: web\n/)
  t.notMatch(stdout, /s3cr3t/)
  for (const [args, ended, line] of [
    [['nobody'], 1, /^No pod, workload or Service nobody is known here; weir pods --all/],
    [['--path-regex', '(x'], 1, /^--path-regex: /],
    [['--status', 'ok'], 1, /^--status: expected such as 404, 5xx/],
    [['--flags', 'RBCA'], 1, /^--flags: no flag "RBCA"; there are .*RBAC/],
    [['--header', 'Authorization=Bearer x'], 1, /^--header: authorization is not shown, nor looked for/],
    [['--header', 'x-internal=x'], 1, /^--header: x-internal is not shown, nor looked for/],
    [['--min-duration', 'long'], 1, /^--min-duration: expected a duration/],
    [['--rate', '100000'], 1, /^--rate: .* from 1 to 1000/],
    [['a', 'b'], 64, /takes no further argument "b"/],
  ] as const) {
    const { stderr, code: exit } = await agent.cli('tap', args)
    t.match({ exit, stderr }, { exit: ended, stderr: line }, args.join(' '))
  }
})

t.test('there are at most 16 readers; the next one is told', async (t) => {
  const readers = await Promise.all(Array.from({ length: 16 }, () => tap('')))
  const next = new TapReader(admin, '')
  t.equal(await next.closed, 1011)
  t.match(next.events, [{ kind: 'problem', problem: /There are 16 taps already/ }])
  await Promise.all(
    readers.map(({ socket }) => {
      socket.terminate()
      return once(socket, 'close')
    }),
  )
})

t.test('an agent that hands over is asked again at its successor', async (t) => {
  const running = agent.cli('tap', ['--limit', '2', '--path', '/handed'])
  while ((await openTaps()) === 0);
  await get('/handed/1')
  const extraArgs = ['--access-log', 'off', '--take-over']
  const next = await lab.node.startAgent({ proxies: 1, extraArgs, waitReady: false })
  await next.waitFor('standby', { timeoutMs: 20_000 })
  await agent.waitFor('successor ready')
  await agent.stop()
  const taps = async () => JSON.parse((await next.cli('status', ['--json'])).stdout).proxies[0].taps
  while ((await taps()) === 0);
  await get('/handed/2')
  const { code, stdout } = await running
  t.equal(code, 0)
  const shown = stdout.split('\n').map((line) => line.replace(/^.* GET /, ''))
  t.match(shown, [/^\/handed\/1 200 /, /^… the agent has ended this and was asked again/, /^\/handed\/2 200 /])
})
