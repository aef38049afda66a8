/** What of a request's and an answer's head passes, what is taken away, and what the mesh says itself. */
import t from 'tap'
import { answerAll, openDataPath } from '../support/data-path.ts'
import { connectIn, type RawMessage } from '../support/raw-socket.ts'

const lab = await openDataPath(t)
t.teardown(() => lab.lab.close())

/** Sends one request of these lines from the client pod; what the server got of it, and what came back. */
async function exchange(
  lines: readonly string[],
  { start = 'GET / HTTP/1.1', answer = ['content-length: 0'], from = lab.client.netnsPath, to = lab.service.ipv4 } = {},
): Promise<{ request: RawMessage; response: RawMessage }> {
  const got = Promise.withResolvers<RawMessage>()
  await using reach = await lab.listen(async (connection) => {
    got.resolve(await connection.message())
    await connection.send(`HTTP/1.1 200 OK\r\n${answer.join('\r\n')}\r\n\r\n`)
  })
  using client = await connectIn(from, to, reach.port)
  const host = start.endsWith('1.1') ? ['Host: web'] : []
  await client.send(`${[start, ...host, ...lines].join('\r\n')}\r\n\r\n`)
  return { response: await client.message(), request: await got.promise }
}

t.test('hop-by-hop fields end at the mesh, in both directions', async (t) => {
  const { request, response } = await exchange(
    [
      'Connection: keep-alive, X-One',
      'connection: x-two',
      'X-One: 1',
      'x-two: 2',
      'X-Three: 3',
      'Keep-Alive: timeout=5',
      'Proxy-Connection: keep-alive',
      'TE: gzip',
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABkAAQAAP__',
    ],
    {
      answer: [
        'content-length: 0',
        'connection: x-one',
        'x-one: 1',
        'keep-alive: timeout=9',
        'x-two: 2',
        'upgrade: h2c',
      ],
    },
  )
  const names = request.lines.map((line) => line.slice(0, line.indexOf(':')).toLowerCase()).sort()
  t.same(names, ['host', 'traceparent', 'x-forwarded-client-cert', 'x-three'])
  t.same(response.lines, ['content-length: 0', 'x-two: 2'])
})

t.test('a Connection header cannot take away what policy, identity and framing rest on', async (t) => {
  const kept = [
    'Authorization: Bearer x',
    'Cookie: a=b',
    'Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    'X-Forwarded-For: 1.2.3.4',
    'X-Request-Id: 7',
    'Content-Length: 0',
    'Content-Type: text/plain',
  ]
  const listed = kept
    .map((line) => line.slice(0, line.indexOf(':')))
    .concat('Host', 'X-Forwarded-Client-Cert', 'X-Weir-Tier')
  const { request } = await exchange([`Connection: ${listed.join(', ')}`, ...kept], { start: 'POST / HTTP/1.1' })
  for (const line of kept) t.ok(request.lines.includes(line), line)
  t.equal(request.header('host'), 'web')
  t.match(request.header('x-forwarded-client-cert'), /URI=spiffe:/)
})

t.test('the application is told the verified peer, and nothing that a client forged', async (t) => {
  const forged = [
    'X-Forwarded-Client-Cert: By=evil;URI=spiffe://evil',
    'x-forwarded-client-cert: again',
    'X-Weir-Peer: admin',
    'x-weir-: 1',
  ]
  const peer = (name: string) =>
    `By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/shop/sa/${name}`
  for (const to of [lab.service.ipv4, lab.web.ipv4, lab.web.ipv6 ?? '']) {
    const { request } = await exchange(forged, { to })
    t.equal(request.header('x-forwarded-client-cert'), peer('client'), `towards ${to}`)
    t.notMatch(request.lines.join('\n'), /evil|x-weir-/i)
  }
  t.equal(
    (await exchange(forged, { from: lab.other.netnsPath })).request.header('x-forwarded-client-cert'),
    peer('other'),
  )
  const { request } = await exchange(forged, { from: `/run/netns/${lab.lab.node.netns}`, to: lab.web.ipv4 })
  t.notMatch(request.lines.join('\n'), /evil|x-weir-|client-cert/i, 'from outside the mesh nobody is verified')
  t.notMatch((await exchange(forged, { start: 'GET / HTTP/1.0' })).request.lines.join('\n'), /evil|x-weir-/i)
})

t.test('a trace is begun, or continued as it is', async (t) => {
  const begun = (await exchange([])).request.header('traceparent')
  t.match(begun, /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/)
  t.not((await exchange([])).request.header('traceparent'), begun)
  const given = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const { request } = await exchange([`traceparent: ${given}`, 'tracestate: a=b'])
  t.equal(request.header('traceparent'), given)
  t.equal(request.header('tracestate'), 'a=b')
})

t.test('a malformed or repeated traceparent is replaced by a new one', async (t) => {
  const given = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  for (const lines of [
    ['traceparent: nonsense'],
    ['traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01'],
    [`traceparent: ${given.replace('0af7', '0AF7')}`],
    [`traceparent: ${given}`, `traceparent: ${given}`],
  ]) {
    const found = (await exchange(lines)).request.header('traceparent')
    t.match(found, /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/, lines.join())
    t.not(found, given)
  }
})

t.test('a tracestate goes with its traceparent, and without one it is of no trace', async (t) => {
  t.equal((await exchange(['tracestate: a=b'])).request.header('tracestate'), undefined)
  t.equal((await exchange(['traceparent: nonsense', 'tracestate: a=b'])).request.header('tracestate'), undefined)
})

t.test(
  'a caller who speaks B3 is in the same trace for those who speak W3C, and its own headers pass on',
  async (t) => {
    const [trace, span] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331']
    const half = trace.slice(16)
    for (const [lines, traceparent] of [
      [[`b3: ${trace}-${span}-1`], `00-${trace}-${span}-01`],
      [[`B3: ${half}-${span}-0-${span}`], `00-${'0'.repeat(16)}${half}-${span}-00`],
      [[`X-B3-TraceId: ${trace}`, `X-B3-SpanId: ${span}`, 'X-B3-Sampled: 1'], `00-${trace}-${span}-01`],
    ] as const) {
      const { request } = await exchange(lines)
      t.equal(request.header('traceparent'), traceparent, lines.join())
      for (const line of lines) t.ok(request.lines.includes(line), line)
    }
    const both = await exchange([`b3: ${trace}-${span}-1`, `traceparent: 00-${'1'.repeat(32)}-${span}-00`])
    t.equal(both.request.header('traceparent'), `00-${'1'.repeat(32)}-${span}-00`, 'W3C is heard first')
    t.match((await exchange(['b3: 0'])).request.header('traceparent'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
    t.match((await exchange(['b3: nonsense'])).request.header('traceparent'), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  },
)

t.test('TE: trailers is kept, and no other', async (t) => {
  const { request } = await exchange(['TE: trailers, deflate;q=0.5', 'Connection: TE'])
  t.equal(request.header('te'), 'trailers')
  t.equal(request.header('connection'), 'te')
})

t.test('the authority of an absolute target replaces the Host', async (t) => {
  const { request } = await exchange([], { start: 'GET http://reviews:80/a?b=c HTTP/1.1' })
  t.equal(request.header('host'), 'reviews:80')
  t.match(request.start, /^GET (?:http:\/\/reviews:80)?\/a\?b=c HTTP\/1\.1$/)
})

t.test('an absolute target without a path gets the one it means: not every server takes it otherwise', async (t) => {
  for (const [target, forwarded] of [
    ['http://reviews?b=c', 'http://reviews/?b=c'],
    ['http://reviews', 'http://reviews/'],
  ]) {
    const { request } = await exchange([], { start: `GET ${target} HTTP/1.1` })
    t.equal(request.start, `GET ${forwarded} HTTP/1.1`)
  }
})

t.test('header lines are passed on as they are: names, order, bytes beyond ASCII', async (t) => {
  const lines = ['X-Mixed-CASE: a', 'x-b: \xe9\xff', 'X-A: 1', 'x-b: 2', 'X-Empty:', 'Accept: */*']
  const { request, response } = await exchange(lines, {
    answer: ['Content-Length: 0', 'Set-Cookie: a', 'X-B: \xe9', 'Set-Cookie: b'],
  })
  t.same(request.lines.slice(1, lines.length + 1), lines)
  t.same(response.lines, ['Content-Length: 0', 'Set-Cookie: a', 'X-B: \xe9', 'Set-Cookie: b'])
})

t.test('the server sees the address of each client pod, and no two pods share a connection', async (t) => {
  await using reach = await lab.listen(answerAll)
  for (let round = 0; round < 2; round++) {
    for (const pod of [lab.client, lab.other]) {
      for (const to of [lab.service.ipv4, lab.service.ipv6 ?? '']) {
        using client = await connectIn(pod.netnsPath, to, reach.port)
        await client.send('GET / HTTP/1.1\r\nHost: w\r\n\r\n')
        await client.message()
      }
    }
  }
  const peers = reach.server.connections.map(({ socket }) => socket.remoteAddress?.replace('::ffff:', ''))
  t.same(peers, [...lab.client.addresses, ...lab.other.addresses], 'one connection per pod and family, used twice')
})

t.test('nothing is left behind', async () => {
  await lab.drained()
})
