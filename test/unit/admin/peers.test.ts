/** Other nodes through one agent: what reaches their agents, what comes back, and what does not. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { parsePeers, peersAmong } from '../../../agent/admin/peer-addresses.ts'
import { startAdmin } from '../../../agent/admin/server.ts'
import { FakeBackend, workload } from './fake-backend.ts'

const PEER_TOKEN = 'what-the-peers-are-shown'
const logger = { warn: () => {} }

/** An agent with the peers given, at a loopback address. */
async function start(t: Test, peers: Record<string, string>) {
  const directory = mkdtempSync(join(tmpdir(), 'weir-peers-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const server = await startAdmin({
    socketPath: join(directory, 'admin.sock'),
    address: '127.0.0.1:0',
    backend: new FakeBackend(),
    peers: { addresses: () => new Map(Object.entries(peers)), token: () => PEER_TOKEN },
    logger,
  })
  t.teardown(() => server[Symbol.asyncDispose]())
  return server.address ?? ''
}

/** An agent of another node, of which a test says what it answers. */
async function peer(t: Test, answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const seen: IncomingMessage[] = []
  const server = createServer((incoming, response) => {
    seen.push(incoming)
    answer(incoming, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const bound = server.address()
  return { seen, server, address: `127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}` }
}

async function get(address: string, path: string, headers: Record<string, string> = {}, body = '') {
  const [host, port] = address.split(':')
  const call = request({ host, port, path, headers, agent: false })
  call.end(body)
  const [response] = await once(call, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() }
}

t.test('what is asked of another node is asked with our token, and nothing of the browser’s goes there', async (t) => {
  const other = await peer(t, (_request, response) => {
    response.setHeader('set-cookie', 'weir=theirs')
    response.setHeader('content-type', 'text/html')
    response.setHeader('content-security-policy', 'none of yours')
    response.end('{"node":"node-2"}')
  })
  const address = await start(t, { 'node-2': other.address })
  t.same(JSON.parse((await get(address, '/nodes')).text), {
    nodes: [
      { name: 'node-1', own: true },
      { name: 'node-2', own: false },
    ],
    asksToken: false,
  })
  const browser = {
    cookie: 'weir-12345678=secret',
    authorization: 'Bearer mine',
    'x-forwarded-for': '1.2.3.4',
    'content-length': '26',
  }
  const { status, headers, text } = await get(
    address,
    '/nodes/node-2/status?a=b',
    browser,
    'GET /smuggled HTTP/1.1\r\n\r\n',
  )
  t.same([status, text], [200, '{"node":"node-2"}'])
  t.match(headers['content-type'], /^application\/json/)
  t.match(headers['content-security-policy'], "default-src 'none'")
  t.equal(headers['set-cookie'], undefined)
  const [seen] = other.seen
  t.equal(seen?.url, '/status?a=b')
  t.same(seen?.headers, {
    accept: 'application/json',
    authorization: `Bearer ${PEER_TOKEN}`,
    connection: 'close',
    host: other.address,
  })
  t.equal(other.seen.length, 1)
})

t.test('only known nodes are asked, and only for what may be read', async (t) => {
  const other = await peer(t, (_request, response) => response.end('{}'))
  const address = await start(t, { 'node-2': other.address })
  for (const path of [
    '/nodes/node-3/status',
    '/nodes/127.0.0.1:1/status',
    '/nodes/node-2/doctor',
    '/nodes/node-2/config',
    '/nodes/node-2/metrics',
    '/nodes/node-2/nodes/node-1/status',
    '/nodes/node-2/login',
    '/nodes/node-2/',
    '/nodes/node-2',
    '/nodes/node-2//status',
    '/nodes/%/status',
    '/nodes/node-2/pods/a/b/c',
  ])
    t.equal((await get(address, path)).status, 404, path)
  t.same(other.seen, [])
  t.equal((await get(address, '/nodes/node-2/pods/shop/web')).status, 200)
})

t.test('an agent that does not answer, or breaks off, is told of', async (t) => {
  const broken = await peer(t, (_request, response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('half')
    setImmediate(() => response.destroy())
  })
  const gone = await peer(t, () => {})
  gone.server.close()
  const address = await start(t, { gone: gone.address, broken: broken.address })
  const answer = await get(address, '/nodes/gone/status')
  t.equal(answer.status, 502)
  t.match(JSON.parse(answer.text), { error: /^The agent of gone does not answer at 127\.0\.0\.1:\d+: .*ECONNREFUSED/ })
  await t.rejects(get(address, '/nodes/broken/status'), 'half an answer is none')
  const socket = new WebSocket(`ws://${address}/nodes/gone/logs?all=true`)
  const [error] = await once(socket, 'error')
  t.match(String(error), /502/)
})

t.test('what a hostile agent answers ends no agent, and leaves nobody waiting', async (t) => {
  const answers = ['000 K', '099 K', '600 K', '101 K', '101 K\r\nconnection: upgrade\r\nupgrade: x']
  for (const line of answers) {
    const hostile = createTcpServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.write(`HTTP/1.1 ${line}\r\n\r\n`))
    }).listen(0, '127.0.0.1')
    await once(hostile, 'listening')
    const bound = hostile.address()
    const address = await start(t, { evil: `127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}` })
    const { status, text } = await get(address, '/nodes/evil/status')
    t.equal(status, 502, line)
    t.match(JSON.parse(text), { error: /^That agent answered with status \d+, which ends no request/ })
    t.equal((await get(address, '/nodes')).status, 200, 'the agent asked is still there')
    hostile.close()
  }
})

t.test('streams of another node come through, with nothing of the browser’s, and end on both sides', async (t) => {
  const other = await peer(t, (_request, response) => response.end())
  const accepting = new WebSocketServer({ server: other.server })
  const accepted = once(accepting, 'connection')
  const address = await start(t, { 'node-2': other.address })
  const socket = new WebSocket(`ws://${address}/nodes/node-2/logs?all=true`, {
    headers: { cookie: 'weir-12345678=secret', origin: `http://${address}` },
  })
  const [theirs, asked] = await accepted
  t.equal(asked.url, '/logs?all=true')
  t.match(asked.headers, { authorization: `Bearer ${PEER_TOKEN}` })
  for (const name of ['cookie', 'origin', 'sec-websocket-extensions']) t.equal(asked.headers[name], undefined, name)
  theirs.send('{"kind":"line"}\n')
  const [data] = await once(socket, 'message')
  t.equal(String(data), '{"kind":"line"}\n')
  const ended = once(theirs, 'close')
  socket.terminate()
  await ended
  const refused = new WebSocket(`ws://${address}/nodes/node-2/logs`, { headers: { origin: 'http://evil.example' } })
  t.match(String((await once(refused, 'error'))[0]), /403/)
  const unknown = new WebSocket(`ws://${address}/nodes/node-2/status`)
  t.match(String((await once(unknown, 'error'))[0]), /404/)
})

t.test('lists of peers: names, addresses of both families, and what is none', (t) => {
  t.same(
    [...(parsePeers('node-2=10.0.0.2:15000,[fd00::3]:15000') ?? [])],
    [
      ['node-2', '10.0.0.2:15000'],
      ['[fd00::3]:15000', '[fd00::3]:15000'],
    ],
  )
  t.same([...(parsePeers('') ?? [])], [])
  for (const wrong of ['10.0.0.2', 'a=b=c:1', 'http://a:1', 'a:1,,b:2', 'a:99999', 'a:0', 'x=a:1,x=b:1', 'a:1/path'])
    t.equal(parsePeers(wrong), undefined, wrong)
  t.end()
})

t.test('agents of a cluster are found by their pods, in their own namespace and on other nodes', (t) => {
  const labels = { 'app.kubernetes.io/name': 'weir', 'app.kubernetes.io/component': 'agent' }
  const agent = (name: string, address: string, changes: object) =>
    workload(name, address, { namespace: 'weir-system', labels, ...changes })
  const found = peersAmong(
    [
      agent('a', '10.1.0.1', { node: 'node-1' }),
      agent('b', '10.1.0.2', { node: 'node-2' }),
      agent('b-new', '10.1.0.22', { node: 'node-2', ready: false }),
      agent('c', 'fd00::3', { node: 'node-3' }),
      agent('gone', '10.1.0.4', { node: 'node-4', terminating: true }),
      agent('ca', '10.1.0.5', { node: 'node-5', labels: { ...labels, 'app.kubernetes.io/component': 'ca' } }),
      agent('false', '10.1.0.6', { node: 'node-6', namespace: 'shop' }),
      agent('waits', '10.1.0.7', { node: '' }),
    ],
    { namespace: 'weir-system', node: 'node-1', port: '15000' },
  )
  t.same(
    [...found],
    [
      ['node-2', '10.1.0.2:15000'],
      ['node-3', '[fd00::3]:15000'],
    ],
  )
  t.end()
})
