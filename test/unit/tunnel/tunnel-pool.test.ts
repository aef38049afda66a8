/** Both ends of tunnels over real TLS on loopback: what happens at the moments between two states. */
import { once } from 'node:events'
import net from 'node:net'
import t, { type Test } from 'tap'
import type { IdentityMaterial } from '#contract'
import type { ByteStream, StreamOwner } from '#http'
import { CertificateAuthority, createKeyPair } from '#identity/ca'
import { Credentials, InboundTunnel, RevokedCertificates, TunnelPool } from '#tunnel'

const CLIENT = 'spiffe://cluster.local/ns/shop/sa/client'
const WEB = 'spiffe://cluster.local/ns/shop/sa/web'
const authority = await CertificateAuthority.generate(Date.now())
const nobody = new RevokedCertificates()

async function credentialsOf(identity: string): Promise<Credentials> {
  const { privateKeyPem, publicKeyPem } = await createKeyPair()
  const request = { publicKey: publicKeyPem, spiffeId: identity, ttlMs: 60_000, nowMs: Date.now() }
  const { certificatePem, trustBundlePem } = await authority.sign(request)
  const trustBundle = trustBundlePem.join('')
  const material: IdentityMaterial = {
    identity,
    privateKey: privateKeyPem,
    certificateChain: certificatePem,
    trustBundle,
  }
  return new Credentials(material, nobody)
}

/** Keeps all that it is told of a stream. */
class Reader implements StreamOwner {
  text = ''
  readonly ended = Promise.withResolvers<number>()
  onData(bytes: Buffer, length: number): void {
    this.text += bytes.toString('latin1', 0, length)
  }
  onEnd(): void {}
  onDrain(): void {}
  onClose(status: number): void {
    this.ended.resolve(status)
  }
}

interface Dialled {
  readonly stream: ByteStream | undefined
  readonly error: string
}

interface Bench {
  readonly pool: TunnelPool
  readonly tunnels: InboundTunnel[]
  readonly retired: string[]
  /** What the server does with a connection. */
  serve(stream: ByteStream): void
  credentials: Credentials | undefined
  /** Connects to the server; undefined while the client's side is held back. */
  hold: Promise<void> | undefined
  dial(): Promise<Dialled>
}

const web = await credentialsOf(WEB)
const client = await credentialsOf(CLIENT)

async function bench(t: Test): Promise<Bench> {
  const tunnels: InboundTunnel[] = []
  const server = net.createServer((socket) => {
    const tunnel: InboundTunnel = new InboundTunnel(
      {
        socket,
        credentials: web,
        trustDomain: 'cluster.local',
        handshakeTimeoutMs: 10_000,
        addresses: () => ['10.0.0.1'],
        full: () => undefined,
        answer: [],
        now: () => performance.now(),
        onVerified: () => undefined,
        onConnection: (stream) => made.serve(stream),
        onConnectionRefused: (why) => t.fail(why),
        onRefused: (why) => t.fail(why),
        onClosed: () => tunnels.splice(tunnels.indexOf(tunnel), 1),
      },
      new Set(),
    )
    tunnels.push(tunnel)
    server.emit('tunnel')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as net.AddressInfo
  const retired: string[] = []
  const pool = new TunnelPool({
    trustDomain: 'cluster.local',
    connectTimeoutMs: 10_000,
    idleTimeoutMs: 10_000,
    credentials: () => made.credentials,
    now: () => performance.now(),
    onRetired: (uid) => retired.push(uid),
    connect: (_address, done) => {
      void (made.hold ?? Promise.resolve()).then(() => {
        const socket: net.Socket = net.connect(port, '127.0.0.1', () => done(0, socket, ''))
      })
    },
  })
  const destination = { uid: 'web-uid', address: '10.0.0.1', identity: WEB }
  const headers = [':method', 'CONNECT', ':authority', '10.0.0.1:80']
  const made: Bench = {
    pool,
    tunnels,
    retired,
    serve: (stream) => stream.resume(),
    credentials: client,
    hold: undefined,
    dial: () =>
      new Promise((resolve) => pool.open(destination, headers, (_status, stream, error) => resolve({ stream, error }))),
  }
  t.teardown(() => {
    pool.close()
    for (const tunnel of tunnels) tunnel.close()
    server.close()
  })
  return made
}

t.test('a pod whose certificate is yet to come has its connections wait for it', async (t) => {
  const made = await bench(t)
  made.credentials = undefined
  const dialled = made.dial()
  made.pool.sweep(performance.now())
  made.credentials = client
  made.pool.renew()
  t.ok((await dialled).stream)
})

t.test('a pod that never gets a certificate has them refused in time', async (t) => {
  const made = await bench(t)
  made.credentials = undefined
  const dialled = made.dial()
  made.pool.sweep(performance.now() + 10_001)
  t.match(await dialled, { stream: undefined, error: 'the pod has no certificate yet' })
})

t.test('a certificate renewed while a tunnel comes up loses nobody who waits for it', async (t) => {
  const made = await bench(t)
  const gate = Promise.withResolvers<void>()
  made.hold = gate.promise
  const before = made.dial()
  made.credentials = await credentialsOf(CLIENT)
  made.pool.renew()
  const after = made.dial()
  gate.resolve()
  const [first, second] = await Promise.all([before, after])
  t.ok(first.stream, first.error)
  t.ok(second.stream, second.error)
  t.equal(made.tunnels.length, 2, 'what came later goes under the new certificate')
  t.ok(made.retired.length >= 2, 'and what came up under the old one is not to be kept')
})

t.test('a server whose certificate is renewed in the handshake serves who is just coming', async (t) => {
  const made = await bench(t)
  const dialled = made.dial()
  while (made.tunnels.length === 0) await new Promise((resolve) => setImmediate(resolve))
  made.tunnels[0]?.retire()
  const { stream, error } = await dialled
  t.ok(stream, error)
  t.ok(made.retired.includes('web-uid'), 'and the client learns that it is for no longer')
})

t.test('the last bytes of the last stream leave though the tunnel ends with it', async (t) => {
  const made = await bench(t)
  const served = Promise.withResolvers<ByteStream>()
  made.serve = served.resolve
  const { stream } = await made.dial()
  if (stream === undefined) throw new Error('No stream')
  const reader = new Reader()
  stream.owner = reader
  stream.resume()
  stream.end()
  const serving = await served.promise
  const told = Promise.withResolvers<void>()
  serving.owner = { onData() {}, onDrain() {}, onClose() {}, onEnd: told.resolve }
  serving.resume()
  await told.promise
  made.tunnels[0]?.retire()
  while (made.retired.length === 0) await new Promise((resolve) => setImmediate(resolve))
  serving.writeText('famous last words')
  serving.end()
  t.equal(await reader.ended.promise, 0)
  t.equal(reader.text, 'famous last words')
})

t.test('a pool that is closed tells when what was written last has left', async (t) => {
  const made = await bench(t)
  const served = Promise.withResolvers<ByteStream>()
  made.serve = served.resolve
  const { stream } = await made.dial()
  if (stream === undefined) throw new Error('No stream')
  const serving = await served.promise
  const reader = new Reader()
  serving.owner = reader
  serving.resume()
  stream.writeText('famous last words')
  stream.end()
  await made.pool.close()
  await reader.ended.promise
  t.equal(reader.text, 'famous last words')
  await made.pool.close()
})
