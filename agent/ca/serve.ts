/** Puts the CA together: key, tokens, manifests and own certificate behind Istio's API; one log line per request. */
import { join } from 'node:path'
import {
  logVerbosity,
  Metadata,
  Server,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  setLogVerbosity,
  status,
} from '@grpc/grpc-js'
import type pino from 'pino'
import { errorLine, startInterval, WeirError } from '#base'
import {
  CaDirectory,
  type CreateCertificateRequest,
  type CreateCertificateResponse,
  IMPERSONATED_IDENTITY,
  keepRevocationList,
  loadIstioCaService,
  REVOCATION_FILE,
  TOLD_REFUSED,
} from '#identity/ca'
import type { CaConfig } from './config.ts'
import { decideIssuance, type IssuanceOutcome, type IssuanceRules } from './issuance.ts'
import { type CaStore, openNodes } from './nodes.ts'
import { ServerCertificate, serverHosts } from './server-certificate.ts'

export interface RunningCa {
  /** HOST:PORT, with the port that was given where 0 was asked for. */
  readonly address: string
  stop(): Promise<void>
}

/** A signing request and its wrapping are far smaller. */
const MAX_REQUEST_BYTES = 64 << 10
const LOOK_PERIOD_MS = 2_000
const SYNC_PERIOD_MS = 10_000
const STOP_GRACE_MS = 3_000
const REASON_STATUS = {
  unauthenticated: status.UNAUTHENTICATED,
  denied: status.PERMISSION_DENIED,
  invalid: status.INVALID_ARGUMENT,
  unavailable: status.UNAVAILABLE,
} as const

type Call = ServerUnaryCall<CreateCertificateRequest, CreateCertificateResponse>

/** @throws an error of one line when something it cannot do without is missing; nothing is left running then */
export async function startCa(config: CaConfig, log: pino.Logger, signal: AbortSignal): Promise<RunningCa> {
  // What matters of its errors is told by ours.
  setLogVerbosity(logVerbosity.NONE)
  await using stack = new AsyncDisposableStack()
  if (config.nodes.kind === 'kubernetes') log.info({}, 'waiting for the API server')
  const nodes = await openNodes(config.nodes, (problem) => log.warn({ problem }, 'problem'), signal)
  stack.use(nodes)
  const store = nodes.storeFor(config.caDir)
  await store.beforeOpen()
  // Last of what reads files: a CA is not made where it could not be used.
  const directory = await CaDirectory.open(config.caDir, Date.now())
  await store.sync()
  await directory.refresh(Date.now())
  const keeper = new ListKeeper(config.caDir, store, log)
  // After what other replicas have told: an empty list must not stand in the place of theirs.
  if (await keeper.keep()) await store.sync()
  const hosts = serverHosts(config.host, config.names)
  const own = await ServerCertificate.create(hosts, directory.authority, Date.now())
  const rules: IssuanceRules = {
    authority: () => directory.authority,
    prove: nodes.prove,
    runsOn: nodes.runsOn,
    trustDomain: config.trustDomain,
    ttlMs: config.ttlMs,
    maxTtlMs: config.maxTtlMs,
  }
  const server = await createServer(async (call) => {
    await follow(directory, log)
    return answer(call, rules, log)
  })
  stack.defer(() => stopServer(server))
  const port = await bind(server, config, own)
  stack.use(startInterval(LOOK_PERIOD_MS, () => void look(directory, own, log)))
  // To ask whose token it is reads a file of tokens that has changed, and tells when it is not good.
  if (config.nodes.kind === 'files') stack.use(startInterval(LOOK_PERIOD_MS, () => void nodes.prove('')))
  stack.use(startInterval(SYNC_PERIOD_MS, () => void keeper.syncAndKeep()))
  const { notAfterMs, trustBundlePem } = directory.authority
  const address = `${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`
  log.info(
    { address, hosts, created: directory.created, roots: trustBundlePem.length, caNotAfter: iso(notAfterMs) },
    'ready',
  )
  const running = stack.move()
  return { address, stop: () => running.disposeAsync() }
}

async function createServer(handle: (call: Call) => Promise<CreateCertificateResponse>): Promise<Server> {
  const server = new Server({
    'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
    'grpc.max_concurrent_streams': 128,
    'grpc.max_connection_idle_ms': 300_000,
  })
  server.addService(await loadIstioCaService(), {
    CreateCertificate: (call: Call, callback: sendUnaryData<CreateCertificateResponse>) => {
      handle(call).then(
        (response) => callback(null, response),
        (error: ServiceError) => callback(error),
      )
    },
  })
  return server
}

function bind(server: Server, { host, port }: CaConfig, own: ServerCertificate): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`
  server.bindAsync(place, own.credentials, (error, bound) => {
    if (error === null) resolve(bound)
    else {
      // gRPC tells of each address that it tried, in brackets.
      const why = /\[(.*)\]$/.exec(errorLine(error))?.[1] ?? errorLine(error)
      reject(new WeirError('WEIR_CA_LISTEN', `Cannot listen on ${place} (--listen): ${why}`))
    }
  })
  return promise
}

/** Keeps the list of the revoked there, and from ending, and others told of it. */
class ListKeeper {
  readonly #caDir: string
  readonly #store: CaStore
  readonly #log: pino.Logger
  #problem = ''

  constructor(caDir: string, store: CaStore, log: pino.Logger) {
    this.#caDir = caDir
    this.#store = store
    this.#log = log
  }

  async syncAndKeep(): Promise<void> {
    try {
      await this.#store.sync()
      if (await this.keep()) await this.#store.sync()
    } catch (thrown) {
      warnOf(this.#log, thrown)
    }
  }

  /** Certificates can be issued without it: what is wrong is told, once. True when the list was written. */
  async keep(): Promise<boolean> {
    let problem = ''
    let written = false
    try {
      written = await keepRevocationList(this.#caDir, Date.now())
      if (written) this.#log.info({ file: join(this.#caDir, REVOCATION_FILE) }, 'revocation list written')
    } catch (thrown) {
      problem = `Cannot keep the revocation list: ${errorLine(thrown)}`
    }
    if (problem !== '' && problem !== this.#problem) this.#log.error({ problem }, 'problem')
    this.#problem = problem
    return written
  }
}

/** @throws an error with a gRPC status, for the client */
async function answer(call: Call, rules: IssuanceRules, log: pino.Logger): Promise<CreateCertificateResponse> {
  const { csr, validity_duration, metadata } = call.request
  const [authorization] = call.metadata.get('authorization')
  let outcome: IssuanceOutcome
  try {
    outcome = await decideIssuance(
      {
        authorization: typeof authorization === 'string' ? authorization : undefined,
        csr,
        identity: metadata?.fields[IMPERSONATED_IDENTITY]?.stringValue,
        ttlMs: validity_duration * 1000,
      },
      rules,
      Date.now(),
    )
  } catch (thrown) {
    log.error({ err: thrown, peer: call.getPeer() }, 'failed')
    throw grpcError(status.FAILED_PRECONDITION, 'the CA cannot sign: see its log', new Metadata())
  }
  const { node, identity } = outcome
  if (outcome.kind === 'refused') {
    log.warn({ identity, node, reason: outcome.reason, why: outcome.why, peer: call.getPeer() }, 'refused')
    throw grpcError(REASON_STATUS[outcome.reason], outcome.why, toldRefused(node, rules.trustDomain))
  }
  const { issued } = outcome
  log.info({ identity, node, serial: issued.serial, notAfter: iso(issued.notAfterMs) }, 'issued')
  return {
    cert_chain: [issued.certificatePem, ...issued.intermediatesPem, issued.trustBundlePem.join('')],
    root_cert: null,
  }
}

function grpcError(code: status, details: string, metadata: Metadata): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata })
}

/** What a node may compare with its own, to see which of the two is mistaken; nothing for who is none. */
function toldRefused(node: string | undefined, trustDomain: string): Metadata {
  const metadata = new Metadata()
  if (node === undefined) return metadata
  metadata.set(TOLD_REFUSED.node, node)
  metadata.set(TOLD_REFUSED.trustDomain, trustDomain)
  return metadata
}

/** Edited files take effect with the next request, not only with the next look. */
async function follow(directory: CaDirectory, log: pino.Logger): Promise<void> {
  try {
    if (!(await directory.refresh(Date.now()))) return
    const { notAfterMs, trustBundlePem } = directory.authority
    log.info({ roots: trustBundlePem.length, caNotAfter: iso(notAfterMs) }, 'CA changed')
  } catch (thrown) {
    log.error({ problem: `${errorLine(thrown)}; the CA read before stays in force` }, 'problem')
  }
}

async function look(directory: CaDirectory, own: ServerCertificate, log: pino.Logger): Promise<void> {
  await follow(directory, log)
  try {
    if (await own.renewIfDue(directory.authority, Date.now())) log.info({}, 'own certificate renewed')
  } catch (thrown) {
    log.error({ problem: `Cannot renew the CA's own certificate: ${errorLine(thrown)}` }, 'problem')
  }
}

function stopServer(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(() => {
    server.forceShutdown()
    resolve()
  }, STOP_GRACE_MS)
  server.tryShutdown(() => {
    clearTimeout(timer)
    resolve()
  })
  return promise
}

function warnOf(log: pino.Logger, thrown: unknown): void {
  log.warn({ problem: errorLine(thrown) }, 'problem')
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
