/**
 * Requests to one API server and watches of it, over connections that are kept. It knows nothing of what it carries:
 * no retries but the two that HTTP asks for (new credentials after 401, a kept connection that the server has closed).
 */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { createSecureContext, type SecureContext } from 'node:tls'
import { errorLine } from '#base'
import { type Consume, type Exchange, exchange, readText } from './exchange.ts'
import { kubeconfigAccess } from './kubeconfig.ts'
import { KubernetesConfigError, KubernetesError, unreachableError } from './kubernetes-error.ts'
import { type Credentials, type InClusterOptions, inClusterAccess, type ServerAccess } from './server-access.ts'
import { type WatchEvent, WatchLines } from './watch-lines.ts'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
/** Undefined values are left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>

export interface RequestOptions {
  readonly query?: Query
  /** Sent as JSON. */
  readonly body?: unknown
  /** Of the body; default application/json. A PATCH names its kind, e.g. application/merge-patch+json. */
  readonly contentType?: string
  /** What the answer is; default json. */
  readonly as?: 'json' | 'text'
  /** Until the answer is whole, ms; default 30,000. */
  readonly timeoutMs?: number
  /** Of the answer; default 16 MiB. */
  readonly maxBytes?: number
  /** Aborted, its reason is thrown. */
  readonly signal?: AbortSignal
}

export interface WatchOptions {
  readonly query?: Query
  /** Called for each event in the order of the stream. What it throws ends the watch and is thrown by it. */
  readonly onEvent: (event: WatchEvent) => void
  /** Called once when the server has accepted the watch. */
  readonly onOpen?: () => void
  /** Of the whole watch, ms; give more than the timeoutSeconds of the query. Default 15 minutes. */
  readonly timeoutMs?: number
  /** Of one event; default 16 MiB. */
  readonly maxLineBytes?: number
  readonly signal?: AbortSignal
}

/** All methods throw KubernetesError. */
export interface KubernetesApi extends AsyncDisposable {
  /** For people: scheme, host, port. */
  readonly server: string
  /** @param path from the root, encoded, without a query. Gives the JSON of the answer, or its text. */
  request(method: Method, path: string, options?: RequestOptions): Promise<unknown>
  /** Resolves when the server has ended the stream in order (its timeoutSeconds); throws when it broke. */
  watch(path: string, options: WatchOptions): Promise<void>
}

export interface KubernetesApiOptions extends InClusterOptions {
  /** Path of a kubeconfig file; absent: the service account of the pod this runs in. */
  readonly kubeconfig?: string
  /** How old what was read of credentials may be, ms; default 60,000. */
  readonly credentialsMaxAgeMs?: number
}

const DEFAULT_TIMEOUT_MS = 30_000
const DEFAULT_WATCH_MS = 15 * 60_000
const HEAD_TIMEOUT_MS = 30_000
const MAX_BYTES = 16 * 1024 * 1024

/** Connects with the first request only. Throws KubernetesConfigError. */
export async function openKubernetesApi(options: KubernetesApiOptions = {}): Promise<KubernetesApi> {
  const access =
    options.kubeconfig === undefined ? inClusterAccess(options) : await kubeconfigAccess(options.kubeconfig)
  const api = new HttpKubernetesApi(access, options.credentialsMaxAgeMs ?? 60_000)
  await api.readCredentials()
  return api
}

/** Credentials as they are used: a connection is kept only as long as what it was made with. */
interface Session {
  readonly credentials: Credentials
  readonly secureContext: SecureContext
  readonly agent: HttpAgent
}

class HttpKubernetesApi implements KubernetesApi {
  readonly server: string
  readonly #access: ServerAccess
  readonly #maxAgeMs: number
  readonly #basePath: string
  readonly #closing = new AbortController()
  #session: Session | undefined
  #readAt = 0
  #reading: Promise<Session> | undefined

  constructor(access: ServerAccess, maxAgeMs: number) {
    this.#access = access
    this.#maxAgeMs = maxAgeMs
    this.server = access.server.origin
    this.#basePath = access.server.pathname.replace(/\/+$/, '')
  }

  request(method: Method, path: string, options: RequestOptions = {}): Promise<unknown> {
    const { query, body, signal, contentType = 'application/json', timeoutMs = DEFAULT_TIMEOUT_MS } = options
    const order = {
      method,
      url: this.#url(path, query),
      headers: body === undefined ? {} : { 'content-type': contentType },
      body: body === undefined ? undefined : JSON.stringify(body),
      headTimeoutMs: timeoutMs,
      timeoutMs,
    }
    return this.#exchange(order, signal, async (answer, action) => {
      const text = await readText(answer, options.maxBytes ?? MAX_BYTES, action)
      if (options.as === 'text') return text
      return text === '' ? undefined : parseJson(text, action)
    })
  }

  watch(path: string, options: WatchOptions): Promise<void> {
    const { query, signal, onEvent, onOpen, timeoutMs = DEFAULT_WATCH_MS, maxLineBytes = MAX_BYTES } = options
    const order = {
      method: 'GET',
      url: this.#url(path, { ...query, watch: 1 }),
      headers: {},
      body: undefined,
      headTimeoutMs: Math.min(HEAD_TIMEOUT_MS, timeoutMs),
      timeoutMs,
    }
    let fromCaller: { readonly error: unknown } | undefined
    const watching = this.#exchange(order, signal, async (answer, action) => {
      onOpen?.()
      const lines = new WatchLines(maxLineBytes, action)
      for await (const chunk of answer) {
        if (!Buffer.isBuffer(chunk)) continue
        for (const event of lines.feed(chunk)) {
          try {
            onEvent(event)
          } catch (error) {
            fromCaller = { error }
            throw error
          }
        }
      }
    })
    return watching.catch((thrown: unknown) => {
      throw fromCaller === undefined ? thrown : fromCaller.error
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const message = `The connection to ${this.server} was closed`
    this.#closing.abort(new KubernetesError({ status: 0, reason: 'Closed', message }))
    this.#session?.agent.destroy()
    await this.#reading?.catch(() => undefined)
    this.#session?.agent.destroy()
  }

  async readCredentials(): Promise<Session> {
    this.#reading ??= this.#readSession().finally(() => {
      this.#reading = undefined
    })
    return await this.#reading
  }

  async #exchange<T>(
    order: Pick<Exchange, 'method' | 'url' | 'headers' | 'body' | 'headTimeoutMs' | 'timeoutMs'>,
    signal: AbortSignal | undefined,
    consume: Consume<T>,
  ): Promise<T> {
    const action = `${order.method} ${this.server}${order.url.pathname}`
    const signals = signal === undefined ? [this.#closing.signal] : [signal, this.#closing.signal]
    const send = async (session: Session): Promise<T> => {
      const { token } = session.credentials
      const headers = {
        accept: 'application/json',
        'user-agent': 'weir',
        ...order.headers,
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      }
      const tls = {
        secureContext: session.secureContext,
        unverified: this.#access.unverified,
        ...(this.#access.tlsServerName === undefined ? {} : { servername: this.#access.tlsServerName }),
      }
      return await exchange({ ...order, action, headers, agent: session.agent, tls, signals }, consume)
    }
    const session = await this.#currentSession(action)
    try {
      return await send(session)
    } catch (thrown) {
      if (!(thrown instanceof KubernetesError) || signals.some(({ aborted }) => aborted)) throw thrown
      if (thrown.status !== 401) throw thrown
      const anew = await this.readCredentials().catch(() => session)
      if (anew === session) throw thrown
      return await send(anew)
    }
  }

  #url(path: string, query: Query | undefined): URL {
    const url = new URL(this.#access.server)
    url.pathname = `${this.#basePath}${path}`
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    return url
  }

  async #currentSession(action: string): Promise<Session> {
    const session = this.#session
    if (session !== undefined && performance.now() - this.#readAt < this.#maxAgeMs) return session
    try {
      return await this.readCredentials()
    } catch (thrown) {
      // A volume that is being replaced: what was good a minute ago mostly still is.
      if (session !== undefined) return session
      throw unreachableError(action, thrown)
    }
  }

  async #readSession(): Promise<Session> {
    const credentials = await this.#access.readCredentials()
    this.#readAt = performance.now()
    const before = this.#session
    if (before !== undefined && sameCredentials(before.credentials, credentials)) return before
    const sameTls = before !== undefined && sameTlsFiles(before.credentials, credentials)
    const session = sameTls ? { ...before, credentials } : this.#newSession(credentials)
    if (!sameTls) retire(before?.agent)
    this.#session = session
    return session
  }

  #newSession(credentials: Credentials): Session {
    const { ca, certificate, key } = credentials
    try {
      const secureContext = createSecureContext({
        ...(ca === undefined ? {} : { ca }),
        ...(certificate === undefined ? {} : { cert: certificate }),
        ...(key === undefined ? {} : { key }),
      })
      const options = { keepAlive: true, maxFreeSockets: 4 }
      const agent = this.#access.server.protocol === 'http:' ? new HttpAgent(options) : new HttpsAgent(options)
      return { credentials, secureContext, agent }
    } catch (error) {
      throw new KubernetesConfigError(`Cannot use the certificates for ${this.server}: ${errorLine(error)}`, {
        cause: error,
      })
    }
  }
}

/** Closes what is idle; what is in use goes on to its end. */
function retire(agent: HttpAgent | undefined): void {
  if (agent === undefined) return
  agent.maxFreeSockets = 0
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
}

function sameCredentials(one: Credentials, other: Credentials): boolean {
  return one.token === other.token && sameTlsFiles(one, other)
}

function sameTlsFiles(one: Credentials, other: Credentials): boolean {
  return one.ca === other.ca && one.certificate === other.certificate && one.key === other.key
}

function parseJson(text: string, action: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new KubernetesError({ status: 200, reason: 'Malformed', message: `${action}: no JSON: ${text.slice(0, 80)}` })
  }
}
