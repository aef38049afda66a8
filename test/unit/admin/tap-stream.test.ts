/** Who gets `/tap`, and what becomes of a query. */
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type ClientOptions, WebSocket } from 'ws'
import type { AdminBackend, ReadingHandlers, TapQuery } from '../../../agent/admin/backend.ts'
import { startAdmin } from '../../../agent/admin/server.ts'
import { FakeBackend } from './fake-backend.ts'

/** With an agent that shows live traffic, unless said otherwise. */
async function start(t: Test, address?: string, shows = true) {
  const path = mkdtempSync(join(tmpdir(), 'weir-tap-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  const opened: TapQuery[] = []
  let loads = 0
  const open = (query: TapQuery, { frame, ended }: ReadingHandlers) => {
    opened.push(query)
    frame('{"kind":"live"}\n')
    return { acknowledge: () => ended(''), close: () => {} }
  }
  const load = async () => {
    loads++
    return { open }
  }
  const taps: AdminBackend['taps'] = { redact: ['x-tenant'], load }
  const socketPath = join(path, 'admin.sock')
  const server = await startAdmin({
    socketPath,
    backend: Object.assign(new FakeBackend(), shows ? { taps } : {}),
    logger: { warn: () => {} },
    ...(address === undefined ? {} : { address }),
  })
  t.teardown(() => server[Symbol.asyncDispose]())
  return { socketPath, port: Number(server.address?.split(':').at(-1)), opened, loads: () => loads }
}

async function refused(url: string, options: ClientOptions = {}) {
  const socket = new WebSocket(url, options)
  socket.on('error', () => {})
  const [, response] = await once(socket, 'unexpected-response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return { status: response.statusCode, error: JSON.parse(Buffer.concat(chunks).toString()).error }
}

t.test('the query is read, then what shows live traffic is loaded; its frames go to the reader', async (t) => {
  const { socketPath, opened } = await start(t)
  const socket = new WebSocket(`ws+unix:${socketPath}:/tap?end=shop/web-1&limit=3`)
  const [[data], [code]] = await Promise.all([once(socket, 'message'), once(socket, 'close')])
  t.equal(String(data), '{"kind":"live"}\n')
  t.equal(code, 1000)
  t.match(opened, [{ filter: { end: 'shop/web-1' }, limit: 3, showHeaders: false }])
})

t.test('a wrong query is told, and loads nothing', async (t) => {
  const { socketPath, loads } = await start(t)
  const url = `ws+unix:${socketPath}:/tap`
  t.match(await refused(`${url}?end=nobody`), { status: 400, error: /^No pod, workload or Service nobody/ })
  t.match(await refused(`${url}?header=x-tenant=a`), { status: 400, error: /x-tenant is not shown, nor looked for/ })
  t.equal(loads(), 0)
})

t.test('on loopback it is answered, but not for other names of the host or pages of other origins', async (t) => {
  const { port, opened } = await start(t, '127.0.0.1:0')
  const url = `ws://127.0.0.1:${port}/tap`
  await once(new WebSocket(url), 'close')
  t.equal(opened.length, 1)
  t.match(await refused(url, { headers: { host: 'evil.example' } }), { status: 421 })
  t.match(await refused(url, { origin: 'http://evil.example' }), { status: 403, error: /other origins/ })
  t.equal(opened.length, 1)
})

t.test('an agent told not to shows nobody anything', async (t) => {
  const { socketPath } = await start(t, undefined, false)
  t.match(await refused(`ws+unix:${socketPath}:/tap`), { status: 503, error: /start it without --tap off/ })
})
