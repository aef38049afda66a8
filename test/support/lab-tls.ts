/** TLS from inside pods, with certificates of the lab's CA: good ones, and ones that nobody should accept. */
import { randomBytes, webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import net from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import { CaDirectory, createKeyPair } from '#identity/ca'
import { toSigningPair } from '../../src/identity/ca/signing-key.ts'
import * as x509 from '../../src/identity/ca/x509.ts'
import { connectSocketIn, listenSocketIn } from './pod-sockets.ts'

const HOUR_MS = 3_600_000
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** What proves an identity, for `node:tls`. */
export interface LabCredentials {
  readonly key: string
  readonly cert: string
  readonly ca: string
}

export interface Validity {
  /** From now; may lie before it. */
  readonly fromMs: number
  readonly ttlMs: number
}

const NOW: Validity = { fromMs: 0, ttlMs: HOUR_MS }
export const EXPIRED: Validity = { fromMs: -2 * HOUR_MS, ttlMs: HOUR_MS }
export const NOT_YET: Validity = { fromMs: 2 * HOUR_MS, ttlMs: HOUR_MS }

/** The authority in the directory that agents were given by `--ca-dir`. */
export class LabAuthority {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /** A certificate as agents have them. */
  async issue(spiffeId: string, { fromMs, ttlMs }: Validity = NOW): Promise<LabCredentials> {
    const { authority } = await CaDirectory.open(this.#path, Date.now())
    const { privateKeyPem, publicKeyPem } = await createKeyPair()
    const nowMs = Date.now() + fromMs
    const { certificatePem, trustBundlePem } = await authority.sign({ publicKey: publicKeyPem, spiffeId, ttlMs, nowMs })
    return { key: privateKeyPem, cert: certificatePem, ca: trustBundlePem.join('') }
  }

  /** One that the authority signed (or the key itself) though nobody should be named like that. */
  async issueOdd(
    names: readonly { readonly type: 'url' | 'dns'; readonly value: string }[],
    { selfSigned = false }: { readonly selfSigned?: boolean } = {},
  ): Promise<LabCredentials> {
    const read = (name: string) => readFileSync(join(this.#path, name), 'utf8')
    const ca = new x509.X509Certificate(read('ca-cert.pem'))
    const { privateKeyPem } = await createKeyPair()
    const own = await toSigningPair(privateKeyPem)
    const signer = selfSigned ? own : await toSigningPair(read('ca-key.pem'))
    const spki = await webcrypto.subtle.exportKey('spki', own.publicKey)
    const subject = 'CN=odd'
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: randomBytes(16).toString('hex'),
      subject,
      issuer: selfSigned ? subject : ca.subject,
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + HOUR_MS),
      publicKey: spki,
      signingKey: signer.privateKey,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension([...names])]),
      ],
    })
    return { key: privateKeyPem, cert: `${certificate.toString('pem')}\n`, ca: read('root-cert.pem') }
  }
}

/** A TLS client of port 15008 from inside a namespace; it trusts anybody. Errors show as the end of the connection. */
export async function connectTlsIn(
  netnsPath: string,
  address: string,
  options: tls.ConnectionOptions = {},
): Promise<tls.TLSSocket> {
  const socket = await connectSocketIn(netnsPath, address, 15008)
  const secure = tls.connect({ socket, ALPNProtocols: ['h2'], rejectUnauthorized: false, ...options })
  secure.on('error', () => {})
  secure.on('end', () => secure.destroy())
  return secure
}

/** Port 15008 of a pod without an agent. */
export class LabTlsServer implements AsyncDisposable {
  #serve: (socket: Socket) => unknown = (socket) => socket.destroy()
  accepted = 0
  readonly #server: net.Server
  readonly #sockets = new Set<Socket>()

  constructor(netnsPath: string) {
    this.#server = net.createServer((socket) => {
      this.accepted++
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
      this.#serve(socket)
    })
    this.#server.listen({ fd: listenSocketIn(netnsPath, 15008) })
  }

  /** Cuts all connections so far, and serves the next ones so. */
  restart(serve: (socket: Socket) => unknown): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#serve = serve
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}
