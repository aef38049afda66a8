/**
 * Certificates from a CA that speaks Istio's API: `weir ca`, istiod. The node proves itself with a token, the CA with a
 * certificate that its root vouches for. What comes back is checked before it is used.
 */
import { createPublicKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import {
  type ChannelOptions,
  Client,
  credentials,
  logVerbosity,
  Metadata,
  type ServiceError,
  setLogVerbosity,
  status,
} from '@grpc/grpc-js'
import { errorLine, WeirError, type WeirErrorCode } from '#base'
import { parseSpiffeId } from '#identity'
import {
  type CreateCertificateRequest,
  type CreateCertificateResponse,
  createKeyPair,
  createSigningRequest,
  describeCertificate,
  followChain,
  IMPERSONATED_IDENTITY,
  loadIstioCaService,
  splitCertificates,
  TOLD_REFUSED,
} from '#identity/ca'
import type { IdentityMaterial, Issuer } from './issuer.ts'

export interface RemoteIssuerOptions {
  /** HOST:PORT, an IPv6 address in brackets; the CA's certificate must name HOST. */
  readonly address: string
  /** PEM file of the roots that vouch for the CA's own certificate; read again when it changes. */
  readonly rootFile: string
  /** Read for each call: tokens are renewed. */
  readonly tokenFile: string
  /** The agent's own; absent where it is not known. */
  readonly node?: string
}

const CALL_TIMEOUT_MS = 10_000
const MAX_ANSWER_BYTES = 1 << 20
/** The channel connects again within this: pauses are ours to make. */
const MAX_RECONNECT_MS = 2_000

/** Sent where the CA is called by its address; checked by nobody. */
const ADDRESS_SERVER_NAME = 'weir-ca.invalid'

type Definition = Awaited<ReturnType<typeof loadIstioCaService>>

export class RemoteIssuer implements Issuer {
  readonly description: string
  readonly #options: RemoteIssuerOptions
  readonly #definition: Definition
  #client: Client | undefined
  #clientRoots = ''
  #trustBundlePem: string | undefined

  private constructor(options: RemoteIssuerOptions, definition: Definition) {
    this.#options = options
    this.#definition = definition
    this.description = `CA at ${options.address}`
  }

  /** @throws WeirError when a file cannot be read now; the CA itself may be away */
  static async open(options: RemoteIssuerOptions): Promise<RemoteIssuer> {
    // What matters of its errors is told by ours.
    setLogVerbosity(logVerbosity.NONE)
    const issuer = new RemoteIssuer(options, await loadIstioCaService())
    await issuer.#connect()
    await issuer.#readToken()
    return issuer
  }

  async issue(spiffeId: string, ttlMs: number, signal: AbortSignal): Promise<IdentityMaterial> {
    const keyPair = await createKeyPair()
    const request: CreateCertificateRequest = {
      csr: await createSigningRequest(keyPair, spiffeId),
      validity_duration: Math.max(1, Math.round(ttlMs / 1000)),
      metadata: { fields: { [IMPERSONATED_IDENTITY]: { stringValue: spiffeId } } },
    }
    const metadata = new Metadata()
    metadata.set('authorization', `Bearer ${await this.#readToken()}`)
    const asked = { trustDomain: parseSpiffeId(spiffeId)?.trustDomain ?? '' }
    const answer = await this.#call(await this.#connect(), request, metadata, asked, signal)
    const checked = checkAnswer(answer, spiffeId, keyPair.publicKeyPem, Date.now())
    if (checked.kind === 'bad') {
      throw new WeirError(
        'WEIR_IDENTITY_ANSWER',
        `The CA at ${this.#options.address} gave no good certificate for ${spiffeId}: ${checked.why}`,
      )
    }
    this.#trustBundlePem = checked.trustBundlePem
    const { serial, notBeforeMs, notAfterMs } = describeCertificate(checked.certificateChainPem)
    const { certificateChainPem, trustBundlePem } = checked
    const { privateKeyPem } = keyPair
    return { spiffeId, privateKeyPem, certificateChainPem, trustBundlePem, serial, notBeforeMs, notAfterMs }
  }

  async readTrustBundle(): Promise<string | undefined> {
    return this.#trustBundlePem
  }

  [Symbol.dispose](): void {
    this.#client?.close()
  }

  async #readToken(): Promise<string> {
    const { tokenFile } = this.#options
    const token = (await readNamed(tokenFile, 'join token')).trim()
    if (/^[\x21-\x7e]+$/.test(token)) return token
    throw new WeirError('WEIR_IDENTITY_TOKEN', `${tokenFile} holds no join token: one line without spaces is expected`)
  }

  /** The channel, made anew when the roots have changed. */
  async #connect(): Promise<Client> {
    const { address, rootFile } = this.#options
    const roots = await readNamed(rootFile, "CA's root")
    if (this.#client !== undefined && roots === this.#clientRoots) return this.#client
    const blocks = splitCertificates(roots)
    if (blocks.length === 0)
      throw new WeirError(
        'WEIR_IDENTITY_ROOT',
        `${rootFile} (--ca-root) holds no PEM block CERTIFICATE: put the CA's root-cert.pem there`,
      )
    this.#client?.close()
    this.#clientRoots = roots
    this.#client = openClient(address, Buffer.from(blocks.join('')))
    return this.#client
  }

  #call(
    client: Client,
    request: CreateCertificateRequest,
    metadata: Metadata,
    asked: Asked,
    signal: AbortSignal,
  ): Promise<CreateCertificateResponse> {
    const method = this.#definition['CreateCertificate']
    if (method === undefined) throw new Error('The definition of the CA service has no method CreateCertificate')
    const { promise, resolve, reject } = Promise.withResolvers<CreateCertificateResponse>()
    const call = client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      (bytes) => method.responseDeserialize(bytes) as CreateCertificateResponse,
      request,
      metadata,
      { deadline: Date.now() + CALL_TIMEOUT_MS },
      (error, answer) => {
        signal.removeEventListener('abort', cancel)
        if (answer === undefined) reject(toWeirError(error, this.#options, asked))
        else resolve(answer)
      },
    )
    const cancel = () => call.cancel()
    signal.addEventListener('abort', cancel)
    if (signal.aborted) cancel()
    return promise
  }
}

function openClient(address: string, roots: Buffer): Client {
  const options: ChannelOptions = {
    'grpc.enable_http_proxy': 0,
    'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    'grpc.max_reconnect_backoff_ms': MAX_RECONNECT_MS,
    'grpc.service_config_disable_resolution': 1,
    // Issuers of one process share no connection: each has roots of its own.
    'grpc.use_local_subchannel_pool': 1,
  }
  const host = address.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  if (isIP(host) === 0) return new Client(address, credentials.createSsl(roots), options)
  // gRPC would send the address as server name, which TLS does not allow (RFC 6066 section 3) and Node refuses.
  const byAddress = credentials.createSsl(roots, null, null, {
    checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
  })
  return new Client(address, byAddress, { ...options, 'grpc.ssl_target_name_override': ADDRESS_SERVER_NAME })
}

async function readNamed(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (thrown) {
    throw new WeirError('WEIR_IDENTITY_FILE', `Cannot read the ${what} file ${path}: ${errorLine(thrown)}`, {
      cause: thrown,
    })
  }
}

interface Asked {
  readonly trustDomain: string
}

function toWeirError(error: ServiceError | null, options: RemoteIssuerOptions, asked: Asked): WeirError {
  const { address, tokenFile, rootFile } = options
  const details = errorLine(error?.details ?? 'it gave no answer').replace(/\.? Resolution note:.*$/, '')
  const failure = (code: WeirErrorCode, message: string) => new WeirError(code, message, { cause: error })
  switch (error?.code) {
    case status.UNAUTHENTICATED:
      return failure(
        'WEIR_IDENTITY_REFUSED',
        `The CA at ${address} does not take the token in ${tokenFile}: ${details}`,
      )
    case status.PERMISSION_DENIED: {
      const mistake = mistakeIn(error.metadata, options, asked)
      return failure('WEIR_IDENTITY_REFUSED', `The CA at ${address} refuses: ${details}${mistake}`)
    }
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
      return /certificate/i.test(details)
        ? failure(
            'WEIR_IDENTITY_UNREACHABLE',
            `The certificate of the CA at ${address} is not vouched for by --ca-root ${rootFile}: ${tlsWords(details)}; put the CA's root-cert.pem there`,
          )
        : failure('WEIR_IDENTITY_UNREACHABLE', `Cannot reach the CA at ${address}: ${details}`)
    default:
      return failure('WEIR_IDENTITY_FAILED', `The CA at ${address} failed: ${details}`)
  }
}

/** Node's advice is for programs that go by the roots of the system. */
function tlsWords(details: string): string {
  return details
    .replace(/^No connection established\. Last error: /, '')
    .replace(/; if the root CA is installed locally.*$/, '')
}

/** Where the CA sees another node, or another trust domain, than the agent does: which flag is to be looked at. */
function mistakeIn(told: Metadata, { tokenFile, node }: RemoteIssuerOptions, asked: Asked): string {
  const [trustDomain] = told.get(TOLD_REFUSED.trustDomain)
  if (typeof trustDomain === 'string' && trustDomain !== asked.trustDomain) {
    return `; the agent's --trust-domain is ${asked.trustDomain}`
  }
  const [tokenNode] = told.get(TOLD_REFUSED.node)
  if (typeof tokenNode !== 'string' || tokenNode === node) return ''
  const token = `; the token in ${tokenFile} is ${tokenNode}'s`
  return node === undefined
    ? `${token}: if this agent is another node, give it its own token`
    : `${token}, this agent is ${node}: give it its own token`
}

type CheckedAnswer =
  | { readonly kind: 'good'; readonly certificateChainPem: string; readonly trustBundlePem: string }
  | { readonly kind: 'bad'; readonly why: string }

/** Istio's answer in either form: roots apart, or as the last text of the chain. */
function checkAnswer(
  answer: CreateCertificateResponse,
  spiffeId: string,
  publicKeyPem: string,
  nowMs: number,
): CheckedAnswer {
  const texts = answer.cert_chain.map(splitCertificates)
  const apart = answer.root_cert?.ca_cert.flatMap(splitCertificates) ?? []
  const roots = apart.length > 0 ? apart : texts.length > 1 ? (texts.at(-1) ?? []) : []
  const [leaf, ...intermediates] = (apart.length > 0 || texts.length < 2 ? texts : texts.slice(0, -1)).flat()
  if (leaf === undefined) return { kind: 'bad', why: 'the answer holds no certificate' }
  if (roots.length === 0) return { kind: 'bad', why: 'the answer holds no root' }
  try {
    const certificate = new X509Certificate(leaf)
    const named = describeCertificate(leaf).spiffeId
    if (named !== spiffeId) return { kind: 'bad', why: `it is for ${named ?? 'no SPIFFE ID'}` }
    const key = createPublicKey(publicKeyPem)
    if (!certificate.publicKey.equals(key)) return { kind: 'bad', why: 'it is for another key' }
    const read = (pems: readonly string[]) => pems.map((pem) => new X509Certificate(pem))
    const chain = followChain(certificate, read(intermediates), read(roots), nowMs)
    if (chain.kind === 'untrusted') return { kind: 'bad', why: chain.why }
    const between = chain.intermediates.map((part) => part.toString())
    return { kind: 'good', certificateChainPem: [leaf, ...between].join(''), trustBundlePem: roots.join('') }
  } catch (thrown) {
    return { kind: 'bad', why: errorLine(thrown) }
  }
}
