/** Alerts to receivers that answer oddly: each is told of, none is waited for longer than it may take. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { postJson } from '../../../agent/observe/alerts/post-json.ts'

/** Posted to a receiver that says so, whatever it is told. */
async function postTo(t: Test, answer: string) {
  const receiver = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => (answer === '' ? socket.destroy() : socket.write(answer)))
    t.teardown(() => socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  t.teardown(() => receiver.close())
  const bound = receiver.address()
  const url = `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}/`
  const { signal } = new AbortController()
  return await postJson({ url, body: '{}', headers: {}, ca: undefined, timeoutMs: 2_000, signal })
}

t.test('a receiver that would speak another protocol has taken nothing, and the next may be told', async (t) => {
  const upgrade = 'HTTP/1.1 101 Other\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'
  t.same(await postTo(t, upgrade), { outcome: 'failed', why: 'it ended the connection without an answer' })
})

t.test('a redirect is followed nowhere', async (t) => {
  const redirect = 'HTTP/1.1 307 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n'
  t.same(await postTo(t, redirect), { outcome: 'refused', why: 'it answered 307' })
})

t.test('one that breaks off is told of, and of one that says more than anybody reads the status counts', async (t) => {
  t.match(await postTo(t, ''), { outcome: 'failed', why: /socket hang up|ECONNRESET/ })
  const endless = `HTTP/1.1 200 K\r\n\r\n${'x'.repeat(1 << 20)}`
  t.same(await postTo(t, endless), { outcome: 'delivered', why: '' })
})
