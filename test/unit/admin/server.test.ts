import { once } from 'node:events'
import { mkdtempSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { request } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { AdminServer } from '../../../agent/admin/server.ts'
import { startAdmin } from '../../../agent/admin/server.ts'
import { FakeBackend } from './fake-backend.ts'

interface Got {
  readonly status: number | undefined
  readonly type: string | undefined
  readonly text: string
  readonly headers: Readonly<Record<string, unknown>>
}

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'weir-admin-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

async function get(where: object, path: string, method = 'GET', headers: Record<string, string> = {}): Promise<Got> {
  const call = request({ ...where, path, method, headers, agent: false }).end()
  const [response] = await once(call, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  const type = response.headers['content-type']
  return { status: response.statusCode, type, text: Buffer.concat(chunks).toString(), headers: response.headers }
}

const logger = { warn: () => {} }

function tcp(server: AdminServer): { readonly host: string; readonly port: number } {
  const [host = '', port = ''] = (server.address ?? '').split(':')
  return { host, port: Number(port) }
}

t.test('the same answers come over the socket and over TCP', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const backend = new FakeBackend()
  await using server = await startAdmin({ socketPath, address: '127.0.0.1:0', backend, logger })
  t.equal(statSync(socketPath).mode & 0o777, 0o600)
  for (const where of [{ socketPath }, tcp(server)]) {
    t.match(await get(where, '/healthz/live'), { status: 200, text: 'ok\n' })
    t.match(await get(where, '/healthz/ready'), { status: 200 })
    const metrics = await get(where, '/metrics')
    t.match(metrics, { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' })
    t.match(metrics.text, 'shop_orders_total 4\n')
    t.match(JSON.parse((await get(where, '/metrics?format=json')).text), { families: [] })
    t.match(JSON.parse((await get(where, '/status')).text), { node: 'node-1', ready: true })
    t.match(JSON.parse((await get(where, '/pods')).text), [{ name: 'web-1', state: 'enrolled' }])
    t.match(JSON.parse((await get(where, '/problems')).text), [])
    t.match(JSON.parse((await get(where, '/routes')).text), [{ name: 'reviews', parents: ['shop/reviews'] }])
    t.match(JSON.parse((await get(where, '/policies')).text), [{ name: 'only-web', action: 'ALLOW' }])
    const explained = await get(where, '/explain?from=shop/web-1&to=http://reviews/')
    t.match(JSON.parse(explained.text), { route: 'shop/reviews' })
  }
  t.match(await get({ socketPath }, '/doctor'), { status: 200 })
  t.match(
    await get(tcp(server), '/doctor'),
    { status: 403, text: /over the admin socket only: weir check/ },
    'root’s to ask',
  )
})

t.test('the page is served with its files, which are asked for again only when they have changed', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  await using server = await startAdmin({ socketPath, address: '127.0.0.1:0', backend: new FakeBackend(), logger })
  const where = tcp(server)
  const page = await get(where, '/')
  t.match(page, { status: 200, type: 'text/html; charset=utf-8', text: '/assets/page/main.ts' })
  const names = new Set([...page.text.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, name = '']) => name))
  t.equal(names.size, 2, 'a style and a script')
  for (const name of names) {
    const { status, type, text, headers } = await get(where, name)
    t.match([name, status, type], [name, 200, name.endsWith('.css') ? /^text\/css;/ : /^text\/javascript;/])
    const etag = String(headers['etag'])
    t.match(await get(where, name, 'GET', { 'if-none-match': etag }), { status: 304, text: '' })
    t.match(await get(where, name, 'GET', { 'if-none-match': '"other"' }), { status: 200, text })
    // What a script imports is served too, and is all that it needs: a browser finds nothing by the names Node knows.
    for (const [, specifier = ''] of text.matchAll(/\bfrom '([^']+)'/g)) {
      names.add(new URL(specifier, `http://admin${name}`).pathname)
      t.match(specifier, /^\.\.?\//, `${name} imports ${specifier}`)
    }
    t.notMatch(text, /: (readonly )?(string|number)\b/, `${name} has no types`)
  }
  t.ok(names.has('/assets/observer/percentile.ts'))
  for (const path of ['/assets/page/../../package.json', '/assets/%2e%2e/agent/main.ts', '/assets/page', '/assets/'])
    t.match(await get(where, path), { status: 404 }, path)
})

t.test('every answer says what a browser may do with it', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  await using server = await startAdmin({ socketPath, address: '127.0.0.1:0', backend: new FakeBackend(), logger })
  for (const path of ['/', '/status', '/nothing']) {
    t.match((await get(tcp(server), path)).headers, {
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    })
  }
})

t.test('where others reach it the token is asked for: the page itself, probes and metrics are open', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const access = { token: () => 'a-token-of-some-length', protectsMetrics: false }
  const options = { socketPath, address: '0.0.0.0:0', backend: new FakeBackend(), logger }
  await using server = await startAdmin({ ...options, access })
  const where = { ...tcp(server), host: '127.0.0.1' }
  for (const path of ['/', '/assets/page/main.ts', '/healthz/ready', '/metrics'])
    t.equal((await get(where, path)).status, 200, path)
  for (const path of ['/status', '/pods', '/config', '/nodes', '/nothing', '/doctor'])
    t.equal((await get(where, path)).status, 401, path)
  const bearer = { authorization: 'Bearer a-token-of-some-length' }
  t.equal((await get(where, '/status', 'GET', bearer)).status, 200)
  t.equal((await get(where, '/doctor', 'GET', bearer)).status, 403)
  t.equal((await get(where, '/login', 'POST')).status, 401)
  t.equal((await get(where, '/login', 'GET', bearer)).status, 404, 'a link logs nobody in')
  const login = await get(where, '/login', 'POST', bearer)
  t.match(login, { status: 204, text: '' })
  const cookie = String(login.headers['set-cookie']).split(';')[0] ?? ''
  t.match(await get(where, '/nodes', 'GET', { cookie }), { status: 200, text: /"asksToken":true/ })
  t.equal((await get(where, '/logout', 'POST', { cookie })).status, 204)
  t.equal(
    (await get(where, '/logout', 'POST', { cookie, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }))
      .status,
    405,
  )
  t.equal((await get(where, '/logout', 'POST', { cookie, origin: 'http://evil.example' })).status, 405)
  t.match(await get({ socketPath }, '/status'), { status: 200 }, 'over the socket it is root that asks')
  t.equal((await get({ socketPath }, '/login', 'POST', bearer)).status, 405)
})

t.test('without a token to show, an address that others reach answers probes and metrics alone', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  await using server = await startAdmin({ socketPath, address: '0.0.0.0:0', backend: new FakeBackend(), logger })
  const where = { ...tcp(server), host: '127.0.0.1' }
  t.equal((await get(where, '/metrics')).status, 200)
  t.equal((await get(where, '/status', 'GET', { authorization: 'Bearer undefined' })).status, 401)
})

t.test('pages of other origins make nobody’s browser ask', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  await using server = await startAdmin({ socketPath, address: '127.0.0.1:0', backend: new FakeBackend(), logger })
  const ask = async (site: string, mode = 'no-cors') =>
    (await get(tcp(server), '/status', 'GET', { 'sec-fetch-site': site, 'sec-fetch-mode': mode })).status
  t.same(
    await Promise.all(['cross-site', 'same-site', 'same-origin', 'none'].map((site) => ask(site))),
    [403, 403, 200, 200],
  )
  t.equal(await ask('cross-site', 'navigate'), 200, 'a link is a person’s own doing')
})

t.test('the configuration is shown without what is named like a secret', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  await using _ = await startAdmin({ socketPath, backend: new FakeBackend(), logger })
  const { text } = await get({ socketPath }, '/config')
  t.match(JSON.parse(text), { node: 'node-1', joinToken: '(not shown)' })
  t.notMatch(text, /do-not-show/)
})

t.test('an agent that is not ready says so', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const backend = new FakeBackend()
  await using _ = await startAdmin({ socketPath, backend, logger })
  backend.ready = false
  t.match(await get({ socketPath }, '/healthz/ready'), { status: 503 })
  t.match(await get({ socketPath }, '/healthz/live'), { status: 200 })
})

t.test('what is not known, not allowed or malformed is refused in JSON', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  await using server = await startAdmin({ socketPath, address: '127.0.0.1:0', backend: new FakeBackend(), logger })
  const where = tcp(server)
  const refused: [number, Got][] = [
    [404, await get(where, '/nothing')],
    [404, await get(where, '/constructor')],
    [405, await get(where, '/status', 'POST')],
    [405, await get(where, '/status', 'DELETE')],
    [400, await get(where, '/explain?from=web')],
    [404, await get(where, '/explain?from=shop/nobody&to=http://reviews')],
    [421, await get(where, '/status', 'GET', { host: 'rebound.example' })],
  ]
  for (const [status, got] of refused) {
    t.equal(got.status, status, got.text)
    t.equal(typeof JSON.parse(got.text).error, 'string')
  }
  t.match(await get(where, '/status', 'GET', { host: 'localhost:15000' }), { status: 200 })
  t.match(await get(where, '/status', 'HEAD'), { status: 200, text: '' })
})

t.test('pods are listed by namespace and name, in whatever order they are known', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const backend = new FakeBackend()
  const [known] = await backend.pods()
  if (known === undefined) throw new Error('no pod to begin with')
  const named = (namespace: string, name: string) => ({ ...known, namespace, name })
  backend.pods = () => Promise.resolve([named('shop', 'web'), named('bank', 'web'), named('shop', 'client')])
  await using _ = await startAdmin({ socketPath, backend, logger })
  const pods = JSON.parse((await get({ socketPath }, '/pods')).text) as { namespace: string; name: string }[]
  t.strictSame(
    pods.map(({ namespace, name }) => `${namespace}/${name}`),
    ['bank/web', 'shop/client', 'shop/web'],
  )
})

t.test('a backend that throws or hangs is answered for, and logged', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const backend = new FakeBackend()
  const warnings: string[] = []
  const noted = { warn: (_: object, message: string) => warnings.push(message) }
  await using _ = await startAdmin({ socketPath, backend, logger: noted, answerTimeoutMs: 20 })
  backend.pods = () => Promise.reject(new Error('no such\ntable'))
  const thrown = await get({ socketPath }, '/pods')
  t.match(thrown, { status: 500 })
  t.strictSame(JSON.parse(thrown.text), { error: 'no such; table' })
  t.strictSame(warnings, ['admin request failed'])
  backend.status = () => new Promise(() => {})
  t.match(await get({ socketPath }, '/status'), { status: 504 })
  t.match(await get({ socketPath }, '/healthz/live'), { status: 200 })
})

t.test('a port in use is one line that names address and flag, and leaves no socket behind', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const bound = other.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  const address = `127.0.0.1:${port}`
  const message = `Listen for admin requests on ${address}: the address is in use; choose another with --admin`
  const backend = new FakeBackend()
  const warnings: string[] = []
  const warned = { warn: (_: object, text: string) => void warnings.push(text) }
  await t.rejects(startAdmin({ socketPath, address, backend, logger: warned }), { code: 'WEIR_ADMIN_LISTEN', message })
  t.strictSame(warnings, [], 'it is told once')
  t.throws(() => statSync(socketPath), { code: 'ENOENT' })
  await t.rejects(startAdmin({ socketPath, address: '15000', backend, logger }), { message: /not HOST:PORT/ })
})

t.test('a second agent on the same state directory is refused; a socket left behind is replaced', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const backend = new FakeBackend()
  const first = await startAdmin({ socketPath, backend, logger })
  await t.rejects(startAdmin({ socketPath, backend, logger }), { message: /another agent is running/ })
  t.match(await get({ socketPath }, '/healthz/live'), { status: 200 })
  await first[Symbol.asyncDispose]()
  const left = await abandonedSocket(t)
  await using _ = await startAdmin({ socketPath: left, backend, logger })
  t.match(await get({ socketPath: left }, '/healthz/live'), { status: 200 })
})

/** A socket file whose process is gone. */
async function abandonedSocket(t: Test): Promise<string> {
  const path = join(directory(t), 'admin.sock')
  const { spawn } = await import('node:child_process')
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
  await once(spawn(process.execPath, ['-e', script]), 'exit')
  t.ok(statSync(path).isSocket())
  return path
}

t.test('a stream that was refused keeps no place, whatever becomes of the other half of its connection', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  await using server = await startAdmin({ socketPath, address: '127.0.0.1:0', backend: new FakeBackend(), logger })
  const socket = connect({ ...tcp(server), allowHalfOpen: true })
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  socket.on('close', () => resolve())
  // A byte that finds nobody is told of.
  socket.on('error', () => {})
  const asked = ['GET /nothing HTTP/1.1', 'host: 127.0.0.1', 'connection: upgrade', 'upgrade: websocket', '', '']
  socket.write(asked.join('\r\n'))
  const [answer] = await once(socket, 'data')
  t.match(String(answer), /^HTTP\/1\.1 404 /)
  await once(socket.resume(), 'end')
  const more = setInterval(() => socket.write('x'), 20)
  await closed
  clearInterval(more)
  t.pass('the connection is gone')
})

t.test('whoever opens connections and says nothing on them, or does not read, keeps no probe out', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const backend = Object.assign(new FakeBackend(), {
    metrics: async () => [
      { families: [{ name: 'x', help: 'y'.repeat(8 << 20), type: 'counter' as const, series: [] }] },
    ],
  })
  await using server = await startAdmin({ socketPath, address: '0.0.0.0:0', backend, logger })
  const where = { host: '127.0.0.1', port: tcp(server).port }
  const held: Socket[] = []
  t.teardown(() => {
    for (const socket of held) socket.destroy()
  })
  for (let i = 0; i < 300; i++) {
    const socket = connect(where).on('error', () => {})
    held.push(socket)
    if (i % 20 === 0) socket.write('GET /metrics HTTP/1.1\r\nhost: weir\r\n\r\n')
    if (i % 10 === 9) await once(socket, 'connect')
  }
  t.equal((await get(where, '/healthz/live')).status, 200)
})

t.test('who asks before the answer is there is not heard', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const backend = new FakeBackend()
  let asked = 0
  backend.status = async () => {
    asked++
    return await new Promise(() => {})
  }
  await using server = await startAdmin({ socketPath, address: '127.0.0.1:0', backend, logger })
  const socket = connect(tcp(server)).on('error', () => {})
  socket.resume().write('GET /status HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n'.repeat(100))
  await once(socket, 'close')
  t.equal(asked, 1)
})
