/** Who gets `/logs`, and how it ends. */
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import type { LogQuery } from '#logs'
import { type AdminServer, startAdmin } from '../../../agent/admin/server.ts'
import { FakeBackend } from './fake-backend.ts'

/** Short: the path of a socket is bounded. */
function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'weir-logs-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

type Handlers = { frame(text: string): void; ended(problem: string): void }

async function start(t: Test, address?: string) {
  const opened: { readonly query: LogQuery; readonly handlers: Handlers }[] = []
  const calls: string[] = []
  const changed = { resolve: () => {} }
  const call = (name: string) => {
    calls.push(name)
    changed.resolve()
  }
  const logs = {
    open: (query: LogQuery, handlers: Handlers) => {
      opened.push({ query, handlers })
      call('open')
      return { acknowledge: () => call('acknowledge'), close: () => call('close') }
    },
  }
  const called = async (name: string) => {
    while (!calls.includes(name)) {
      const { promise, resolve } = Promise.withResolvers<void>()
      changed.resolve = resolve
      await promise
    }
  }
  const backend = Object.assign(new FakeBackend(), { logs })
  const socketPath = join(directory(t), 'admin.sock')
  const server = await startAdmin({
    socketPath,
    backend,
    logger: { warn: () => {} },
    ...(address === undefined ? {} : { address }),
  })
  t.teardown(() => server[Symbol.asyncDispose]())
  return { server, socketPath, opened, calls, called }
}

/** Asks to upgrade; the answer when that is refused. */
async function refused(where: object, path: string, headers: Record<string, string> = {}) {
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
  }
  const call = request({ ...where, path, headers: { ...upgrade, ...headers }, agent: false }).end()
  const [response] = await once(call, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode, error: JSON.parse(Buffer.concat(chunks).toString()).error }
}

function tcp(server: AdminServer) {
  return { host: '127.0.0.1', port: Number(server.address?.split(':').at(-1)) }
}

t.test('frames go to the reader and are acknowledged when they have left; its end ends the reading', async (t) => {
  const { socketPath, opened, called } = await start(t)
  const socket = new WebSocket(`ws+unix:${socketPath}:/logs?pod=shop/web-1&follow=true`)
  await called('open')
  t.match(opened, [{ query: { pod: 'web-1', namespace: 'shop', follow: true } }])
  opened[0]?.handlers.frame('{"kind":"line"}\n')
  const [data] = await once(socket, 'message')
  t.equal(String(data), '{"kind":"line"}\n')
  await called('acknowledge')
  socket.terminate()
  await called('close')
})

t.test('what is wrong with the logs is told whole, and in short as the reason of the close', async (t) => {
  const { socketPath, opened, called } = await start(t)
  const socket = new WebSocket(`ws+unix:${socketPath}:/logs?all=true`)
  await called('open')
  const problem = `no ${'\u00e4'.repeat(200)}`
  opened[0]?.handlers.ended(problem)
  const [[data], [code, reason]] = await Promise.all([once(socket, 'message'), once(socket, 'close')])
  t.same(JSON.parse(String(data)), { kind: 'problem', problem })
  t.equal(code, 1011)
  t.ok(String(reason).startsWith('no \u00e4\u00e4'))
})

t.test('the end of the agent ends its readers', async (t) => {
  const { socketPath, server, called } = await start(t)
  const socket = new WebSocket(`ws+unix:${socketPath}:/logs?all=true`)
  await called('open')
  await Promise.all([once(socket, 'close'), server[Symbol.asyncDispose]()])
  t.pass('both have ended')
})

t.test('on loopback it is answered, but not for other names of the host or pages of other origins', async (t) => {
  const { server, called } = await start(t, '127.0.0.1:0')
  const where = tcp(server)
  const socket = new WebSocket(`ws://127.0.0.1:${where.port}/logs?all=true`)
  await Promise.all([once(socket, 'open'), called('open')])
  socket.terminate()
  t.match(await refused(where, '/logs?all=true', { host: 'evil.example' }), { status: 421 })
  t.match(await refused(where, '/logs?all=true', { origin: 'http://evil.example' }), {
    status: 403,
    error: /other origins/,
  })
})

t.test('at an address that others reach it is not answered without a token, whatever they say', async (t) => {
  const { server, calls } = await start(t, '0.0.0.0:0')
  const answer = await refused(tcp(server), '/logs?all=true', { host: '127.0.0.1' })
  t.match(answer, { status: 401, error: /A token is asked for/ })
  t.same(calls, [])
})

t.test('a wrong query, another path and what is no WebSocket are told', async (t) => {
  const { socketPath } = await start(t)
  t.match(await refused({ socketPath }, '/logs'), { status: 400, error: /name a pod/ })
  t.match(await refused({ socketPath }, '/logs?all=true&grep=(x'), { status: 400, error: /Parameter grep/ })
  t.match(await refused({ socketPath }, '/pods'), { status: 404, error: /No such stream/ })
  t.match(await refused({ socketPath }, '/logs?all=true', { upgrade: '', connection: 'close' }), { status: 426 })
})

t.test('an agent that reads no logs says so', async (t) => {
  const socketPath = join(directory(t), 'admin.sock')
  const logger = { warn: () => {} }
  const server = await startAdmin({ socketPath, backend: new FakeBackend(), logger })
  t.teardown(() => server[Symbol.asyncDispose]())
  t.match(await refused({ socketPath }, '/logs?all=true'), { status: 503, error: /--logs off/ })
})
