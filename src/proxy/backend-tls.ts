/**
 * TLS that the mesh opens to a backend (BackendTLSPolicy), over whatever leads there. The certificate is verified against
 * the policy's roots and names before a byte of a request is sent; a connection that cannot be verified is none.
 */
import type { X509Certificate } from 'node:crypto'
import { Duplex } from 'node:stream'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { BackendTls } from '#contract'
import type { ByteStream, StreamOwner } from '#http'
import type { Dialer, Dialled } from './dialer.ts'
import { NOBODY } from './tcp.ts'

const UV_EPROTO = -71
const UV_ECONNRESET = -104

export class TlsDialer implements Dialer {
  readonly #inner: Dialer
  readonly #policy: BackendTls
  readonly #protocol: 'h2' | 'http/1.1'
  readonly #timeoutMs: number

  constructor(inner: Dialer, policy: BackendTls, protocol: 'h2' | 'http/1.1', timeoutMs: number) {
    this.#protocol = protocol
    this.#inner = inner
    this.#policy = policy
    this.#timeoutMs = timeoutMs
  }

  dial(done: Dialled): void {
    const { namespace, name, invalid } = this.#policy
    const context = invalid === undefined ? contextOf(this.#policy) : invalid
    if (typeof context === 'string') {
      queueMicrotask(() => done(UV_EPROTO, undefined, `BackendTLSPolicy ${namespace}/${name}: ${context}`))
      return
    }
    this.#inner.dial((status, stream, error) => {
      if (stream === undefined) done(status, undefined, error)
      else this.#handshake(stream, context, done)
    })
  }

  #handshake(stream: ByteStream, secureContext: SecureContext, done: Dialled): void {
    const policy = this.#policy
    const socket = connect({
      socket: new StreamDuplex(stream),
      secureContext,
      servername: policy.hostname,
      ALPNProtocols: [this.#protocol],
      // By the policy's own names, below.
      checkServerIdentity: () => undefined,
    })
    let settled = false
    const fail = (why: string): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      socket.destroy()
      done(UV_EPROTO, undefined, `TLS to the backend (BackendTLSPolicy ${policy.namespace}/${policy.name}): ${why}`)
    }
    const timer = setTimeout(() => fail('the handshake took too long'), this.#timeoutMs)
    socket.once('error', (error) => fail(tlsProblem(error)))
    socket.once('close', () => fail('the backend closed the connection'))
    socket.once('secureConnect', () => {
      const wrong = namesProblem(socket.getPeerX509Certificate(), policy)
      if (wrong !== undefined) {
        fail(wrong)
        return
      }
      settled = true
      clearTimeout(timer)
      done(0, new TlsStream(socket), '')
    })
  }
}

/** OpenSSL's own words, without what Node adds. */
function tlsProblem(error: Error): string {
  if ('reason' in error && typeof error.reason === 'string') return error.reason
  return error.message.split(/[;\n]/, 1)[0] ?? error.message
}

const contexts = new WeakMap<BackendTls, SecureContext | string>()

function contextOf(policy: BackendTls): SecureContext | string {
  let known = contexts.get(policy)
  if (known === undefined) {
    try {
      known = createSecureContext(policy.roots === undefined ? {} : { ca: [...policy.roots] })
    } catch {
      known = 'its certificates cannot be read'
    }
    contexts.set(policy, known)
  }
  return known
}

/** Of subjectAltNames one must be in the certificate; the hostname only where there are none (Gateway API). */
function namesProblem(certificate: X509Certificate | undefined, { hostname, names }: BackendTls): string | undefined {
  if (certificate === undefined) return 'the backend sent no certificate'
  if (names.length === 0) {
    const matches = certificate.checkHost(hostname, { subject: 'never' }) !== undefined
    return matches ? undefined : `the certificate is not for ${hostname}`
  }
  const present = alternativeNames(certificate.subjectAltName ?? '')
  const found = names.some(({ type, value }) => {
    if (type === 'URI') return present.some((one) => one.type === 'URI' && one.value === value)
    const dns = present.flatMap((one) => (one.type === 'DNS' ? [one.value.toLowerCase()] : []))
    if (!value.startsWith('*.')) return certificate.checkHost(value, { subject: 'never' }) !== undefined
    return dns.some((name) => name === value || (name.length >= value.length && name.endsWith(value.slice(1))))
  })
  const wanted = names.map(({ value }) => value).join(', ')
  return found ? undefined : `the certificate has none of the names ${wanted}`
}

/** As Node writes them: `DNS:a.example, URI:spiffe://…`, values with odd characters as JSON text. */
function alternativeNames(text: string): readonly { readonly type: string; readonly value: string }[] {
  return Array.from(text.matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)/g), ([, type = '', value = '']) => {
    return { type, value: value.startsWith('"') ? String(JSON.parse(value)) : value }
  })
}

/** A byte stream as Node's own TLS wants it. */
class StreamDuplex extends Duplex implements StreamOwner {
  readonly #stream: ByteStream
  #written: ((error?: Error) => void) | undefined

  constructor(stream: ByteStream) {
    super()
    this.#stream = stream
    stream.owner = this
    stream.resume()
  }

  onData(bytes: Buffer, length: number): void {
    if (!this.push(Buffer.from(bytes.subarray(0, length)))) this.#stream.pause()
  }

  onEnd(): void {
    this.push(null)
  }

  onDrain(): void {
    const written = this.#written
    this.#written = undefined
    written?.()
  }

  onClose(status: number): void {
    this.destroy(
      status === 0 ? undefined : Object.assign(new Error('the connection was reset'), { code: 'ECONNRESET' }),
    )
  }

  override _read(): void {
    this.#stream.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: (error?: Error) => void): void {
    if (this.#stream.writeBytes(chunk)) written()
    else this.#written = written
  }

  override _final(done: () => void): void {
    this.#stream.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream.owner = NOBODY
    this.#stream.close()
    done(error)
  }
}

class TlsStream implements ByteStream {
  owner: StreamOwner = NOBODY
  closed = false
  readEnded = false
  writeEnded = false
  reading = false
  readonly #socket: TLSSocket
  #failed = false

  constructor(socket: TLSSocket) {
    this.#socket = socket
    socket.pause()
    socket.on('data', (bytes: Buffer) => this.owner.onData(bytes, bytes.length))
    socket.on('end', () => {
      this.readEnded = true
      this.owner.onEnd()
    })
    socket.on('drain', () => this.owner.onDrain())
    socket.on('error', () => {
      this.#failed = true
    })
    socket.on('close', () => this.#close(this.#failed ? UV_ECONNRESET : 0))
  }

  #close(status: number): void {
    if (this.closed) return
    this.closed = true
    this.#socket.destroy()
    this.owner.onClose(status)
  }

  get pendingWrites(): number {
    return this.#socket.writableNeedDrain ? 1 : 0
  }

  resume(): void {
    this.reading = true
    this.#socket.resume()
  }

  pause(): void {
    this.reading = false
    this.#socket.pause()
  }

  writeText(text: string): boolean {
    return this.closed || this.#socket.write(text, 'latin1')
  }

  writeBytes(bytes: Buffer): boolean {
    return this.closed || this.#socket.write(bytes)
  }

  writeSlice(bytes: Buffer, start: number, end: number): boolean {
    return this.writeBytes(Buffer.from(bytes.subarray(start, end)))
  }

  holdForEnd(): void {}

  end(): void {
    this.writeEnded = true
    this.#socket.end()
  }

  checkPaused(): void {}

  close(): void {
    this.#close(0)
  }

  reset(): void {
    this.#close(0)
  }
}
