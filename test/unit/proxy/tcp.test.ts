/** Our TCP streams against `net.Socket` on loopback: what an upgrade of Node must not change (decision 0002). */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import t from 'tap'
import type { StreamOwner } from '#http'
import { bindSocket, openTcpSocket } from '#linux'
import { connectTcp, TcpListener, TcpStream } from '../../../src/proxy/tcp.ts'

const UV_ECONNREFUSED = -111
const UV_ECONNRESET = -104
const UV_EADDRNOTAVAIL = -99

/** Keeps what a stream tells, and lets a test wait for it. */
class Recorder implements StreamOwner {
  text = ''
  readonly events: string[] = []
  status: number | undefined
  #wake = Promise.withResolvers<void>()

  onData(bytes: Buffer, length: number): void {
    this.text += bytes.toString('latin1', 0, length)
    this.#tell('data')
  }
  onEnd(): void {
    this.#tell('end')
  }
  onDrain(): void {
    this.#tell('drain')
  }
  onClose(status: number): void {
    this.status = status
    this.#tell('close')
  }
  #tell(event: string): void {
    if (event !== 'data') this.events.push(event)
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#wake.promise
  }
}

/** A stream of ours, connected to a `net.Socket`. */
async function pair(t: { teardown(handler: () => void): void }) {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  const accepted = once(server, 'connection') as Promise<[net.Socket]>
  const connected = Promise.withResolvers<object>()
  connectTcp(openTcpSocket(4), { address: '127.0.0.1', port, localAddress: '127.0.0.9' }, (status, handle) => {
    if (handle === undefined) connected.reject(new Error(`Error ${status}`))
    else connected.resolve(handle)
  })
  const owner = new Recorder()
  const stream = new TcpStream(await connected.promise, owner)
  const [peer] = await accepted
  const told = { text: '', ended: false }
  peer.on('data', (bytes: Buffer) => {
    told.text += bytes.toString('latin1')
  })
  peer.on('end', () => {
    told.ended = true
  })
  peer.on('error', () => {})
  stream.resume()
  t.teardown(() => {
    stream.close()
    peer.destroy()
    server.close()
  })
  return { stream, owner, peer, told, port }
}

t.test('bytes go both ways, as text and as bytes, in the order written', async (t) => {
  const { stream, owner, peer, told, port } = await pair(t)
  t.same(stream.peer(), { address: '127.0.0.1', port })
  t.equal(peer.remoteAddress, '127.0.0.9', 'bound before it connected')
  peer.write('caf\xe9 ', 'latin1')
  await owner.until(() => owner.text === 'caf\xe9 ')
  t.ok(stream.writeText('one \xe9 '))
  t.ok(stream.writeBytes(Buffer.from('two ')))
  const reused = Buffer.from('three')
  stream.writeSlice(reused, 0, 3)
  reused.fill('x')
  stream.end()
  await once(peer, 'end')
  t.equal(told.text, 'one \xe9 two thr')
})

t.test('each side ends by itself, and the stream closes when both have', async (t) => {
  const { stream, owner, peer, told } = await pair(t)
  peer.end('last')
  await owner.until(() => owner.events.includes('end'))
  t.equal(owner.text, 'last')
  t.ok(stream.readEnded)
  t.notOk(stream.closed)
  stream.writeText('answer')
  stream.end()
  stream.writeText('dropped: after the end')
  await owner.until(() => stream.closed)
  t.same(owner.events, ['end', 'close'])
  t.equal(owner.status, 0)
  await once(peer, 'close')
  t.equal(told.text, 'answer')
  stream.close()
  stream.reset()
  t.same(owner.events, ['end', 'close'], 'told once')
})

t.test('a last write that is held leaves with the FIN, within the call that ends the stream', async (t) => {
  const { stream, peer, told, port } = await pair(t)
  stream.writeText('first ')
  t.equal(queuedAt(port), 6, 'a write is with the peer at once')
  stream.holdForEnd()
  stream.writeText('last')
  t.equal(queuedAt(port), 6, 'but not one that is held')
  stream.end()
  t.equal(queuedAt(port), 11, 'four bytes and the FIN, which the kernel counts as one')
  await once(peer, 'end')
  t.equal(told.text, 'first last')
})

/** What waits to be read on the accepted end of a loopback connection to `port` (/proc/net/tcp, rx_queue). */
function queuedAt(port: number): number {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = readFileSync('/proc/net/tcp', 'latin1').split('\n')
  const [row] = rows.map((line) => line.trim().split(/\s+/)).filter(([, at, , state]) => at === local && state !== '0A')
  return Number.parseInt(row?.[4]?.split(':')[1] ?? '', 16)
}

t.test('what the kernel does not take at once is written later, and told', async (t) => {
  const { stream, owner, peer } = await pair(t)
  let received = 0
  peer.removeAllListeners('data')
  peer.pause()
  const block = Buffer.alloc(1 << 20, 'x')
  let written = 0
  while (stream.writeBytes(block)) written += block.length
  written += block.length
  t.equal(stream.pendingWrites, 1)
  stream.writeText('end')
  stream.end()
  peer.on('data', (bytes: Buffer) => {
    received += bytes.length
  })
  peer.resume()
  await once(peer, 'end')
  t.equal(received, written + 3)
  t.same(owner.events, ['drain'])
  t.equal(stream.pendingWrites, 0)
})

t.test('of a paused stream a check tells that it was reset, and not that it has ended', async (t) => {
  const { stream, owner, peer } = await pair(t)
  stream.pause()
  stream.checkPaused()
  peer.end('last')
  await once(peer, 'finish')
  stream.checkPaused()
  t.notOk(stream.closed)
  peer.resetAndDestroy()
  await once(peer, 'close')
  while (!stream.closed) stream.checkPaused()
  t.same(owner.events, ['close'])
  t.equal(owner.status, UV_ECONNRESET)
})

t.test('a paused stream reads nothing until it is resumed', async (t) => {
  const { stream, owner, peer } = await pair(t)
  stream.pause()
  await new Promise<void>((resolve) => peer.write('held', () => resolve()))
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(owner.text, '')
  stream.resume()
  await owner.until(() => owner.text === 'held')
})

t.test('a reset is told as an error, in both directions', async (t) => {
  const first = await pair(t)
  first.peer.resetAndDestroy()
  await first.owner.until(() => first.stream.closed)
  t.equal(first.owner.status, UV_ECONNRESET)

  const second = await pair(t)
  const failed = once(second.peer, 'error')
  second.stream.reset()
  t.match(await failed, [{ code: 'ECONNRESET' }])
  t.equal(second.owner.status, 0, 'our own doing')
  t.equal(second.owner.events.join(), 'close')
})

t.test('a refused connection and an unusable local address are errors, told later', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  const attempt = (localAddress: string | undefined): Promise<number> =>
    new Promise((resolve) => {
      let returned = false
      connectTcp(openTcpSocket(4), { address: '127.0.0.1', port, localAddress }, (status) => {
        t.ok(returned)
        resolve(status)
      })
      returned = true
    })
  t.equal(await attempt(undefined), UV_ECONNREFUSED)
  t.equal(await attempt('198.51.100.1'), UV_EADDRNOTAVAIL)
})

t.test('a listener serves a socket that was bound elsewhere', async (t) => {
  const fd = openTcpSocket(4)
  // An address of this process alone, since the port is chosen here.
  const address = `127.${100 + (process.pid >> 16)}.${(process.pid >> 8) & 255}.${process.pid & 255}`
  bindSocket(fd, { address, port: 20_000 })
  const accepted = Promise.withResolvers<object>()
  const listener = new TcpListener(fd, 8, accepted.resolve)
  const client = net.connect(20_000, address)
  const owner = new Recorder()
  const stream = new TcpStream(await accepted.promise, owner)
  stream.resume()
  client.end('hello')
  await owner.until(() => owner.events.includes('end'))
  t.equal(owner.text, 'hello')
  stream.close()
  listener.close()
  client.destroy()
})
