/** Puts the CA together: key, tokens, manifests and own certificate behind Istio's API; one log line per request. */
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
import { openDirectorySource } from '#discovery'
import {
  CaDirectory,
  type CreateCertificateRequest,
  type CreateCertificateResponse,
  IMPERSONATED_IDENTITY,
  loadIstioCaService,
} from '#identity/ca'
import { renderProblem } from '#resources'
import type { CaConfig } from './config.ts'
import { decideIssuance, type IssuanceOutcome, type IssuanceRules } from './issuance.ts'
import { JoinTokens } from './join-tokens.ts'
import { NodeAccounts } from './node-accounts.ts'
import { ServerCertificate, serverHosts } from './server-certificate.ts'

export interface RunningCa {
  /** HOST:PORT, with the port that was given where 0 was asked for. */
  readonly address: string
  stop(): Promise<void>
}

/** A signing request and its wrapping are far smaller. */
const MAX_REQUEST_BYTES = 64 << 10
const LOOK_PERIOD_MS = 2_000
const STOP_GRACE_MS = 3_000
const REASON_STATUS = {
  unauthenticated: status.UNAUTHENTICATED,
  denied: status.PERMISSION_DENIED,
  invalid: status.INVALID_ARGUMENT,
} as const

type Call = ServerUnaryCall<CreateCertificateRequest, CreateCertificateResponse>

/** @throws an error of one line when something it cannot do without is missing; nothing is left running then */
export async function startCa(config: CaConfig, log: pino.Logger): Promise<RunningCa> {
  // What matters of its errors is told by ours.
  setLogVerbosity(logVerbosity.NONE)
  const warn = (problem: string) => log.warn({ problem }, 'problem')
  const tokens = await JoinTokens.open(config.joinTokens, warn)
  const accounts = new NodeAccounts()
  await using stack = new AsyncDisposableStack()
  let told: ReadonlySet<string> = new Set()
  stack.use(
    await openDirectorySource({
      directory: config.manifests,
      onChange: (objects, report) => {
        accounts.update(objects)
        const problems = new Set(report.problems.map(renderProblem))
        for (const problem of problems) if (!told.has(problem)) warn(problem)
        told = problems
      },
    }),
  )
  // Last of what reads files: a CA is not made where it could not be used.
  const directory = await CaDirectory.open(config.caDir, Date.now())
  const hosts = serverHosts(config.host, config.names)
  const own = await ServerCertificate.create(hosts, directory.authority, Date.now())
  const rules: IssuanceRules = {
    authority: () => directory.authority,
    nodeOf: (token) => tokens.nodeOf(token),
    runsOn: (node, namespace, serviceAccount) => accounts.runsOn(node, namespace, serviceAccount),
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
    throw grpcError(status.FAILED_PRECONDITION, 'the CA cannot sign: see its log')
  }
  const { node, identity } = outcome
  if (outcome.kind === 'refused') {
    log.warn({ identity, node, reason: outcome.reason, why: outcome.why, peer: call.getPeer() }, 'refused')
    throw grpcError(REASON_STATUS[outcome.reason], outcome.why)
  }
  const { issued } = outcome
  log.info({ identity, node, serial: issued.serial, notAfter: iso(issued.notAfterMs) }, 'issued')
  return {
    cert_chain: [issued.certificatePem, ...issued.intermediatesPem, issued.trustBundlePem.join('')],
    root_cert: null,
  }
}

function grpcError(code: status, details: string): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata: new Metadata() })
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

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
