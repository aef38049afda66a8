/**
 * A small Kubernetes API server in the process of the test: list with pages, watch with bookmarks and history, get,
 * create, replace, merge patch, status, delete, discovery; and faults on demand. Objects are put in from the test.
 */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import {
  BUILT_IN,
  type Change,
  type FakeObject,
  FakeObjects,
  FakeRefusal,
  type FakeResource,
  isFakeObject,
  isRecord,
  mergePatch,
} from './fake-objects.ts'
import { FakeWatches } from './fake-watches.ts'
import { listenSocketIn } from './pod-sockets.ts'

export interface RecordedRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
}

export type Fault =
  | {
      readonly status: number
      readonly reason?: string
      readonly message?: string
      readonly headers?: Record<string, string>
    }
  /** The real answer up to half of it, then nothing more. */
  | 'stall'
  /** The real answer up to half of it, then the connection breaks. */
  | 'cut'
  /** No answer at all. */
  | 'hang'
  /** This text instead of the answer, with status 200. */
  | { readonly text: string }

export interface FakeApiServerOptions {
  /** Asked of every request; none by default. */
  readonly token?: string
  readonly tls?: { readonly key: string; readonly cert: string }
  readonly resources?: readonly FakeResource[]
  /** Port on all addresses of that network namespace; otherwise any, on loopback here. */
  readonly at?: { readonly netnsPath: string; readonly port: number }
}

interface ActiveFault {
  readonly match: (request: RecordedRequest) => boolean
  readonly fault: Fault
  left: number
}

type Names = { readonly namespace?: string; readonly name: string }

export class FakeApiServer implements AsyncDisposable {
  /** All that were read, in order. */
  readonly requests: RecordedRequest[] = []
  readonly watches = new FakeWatches()
  readonly #server: ReturnType<typeof createHttpServer>
  readonly #scheme: 'http' | 'https'
  readonly #stores = new Map<string, FakeObjects>()
  readonly #sockets = new Set<Socket>()
  readonly #faults: ActiveFault[] = []
  /** Rests of lists by continue token. */
  readonly #pages = new Map<string, readonly FakeObject[]>()
  readonly #waiting = new Set<() => void>()
  #frozen = false
  readonly #at: FakeApiServerOptions['at']
  #token: string | undefined
  #version = 100
  #port = 0

  private constructor(options: FakeApiServerOptions) {
    this.#token = options.token
    this.#at = options.at
    this.#scheme = options.tls === undefined ? 'http' : 'https'
    const answer = (request: IncomingMessage, response: ServerResponse): void => void this.#answer(request, response)
    this.#server = options.tls === undefined ? createHttpServer(answer) : createHttpsServer(options.tls, answer)
    this.#server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.define(...BUILT_IN, ...(options.resources ?? []))
  }

  static async start(options: FakeApiServerOptions = {}): Promise<FakeApiServer> {
    const server = new FakeApiServer(options)
    await server.comeBack()
    return server
  }

  get url(): string {
    return `${this.#scheme}://127.0.0.1:${this.#port}`
  }

  /** Writes a kubeconfig for it into the directory and gives its path. */
  async kubeconfig(directory: string, cluster: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const user = this.#token === undefined ? {} : { token: this.#token }
    const config = {
      'current-context': 'fake',
      contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'fake' } }],
      clusters: [{ name: 'fake', cluster: { server: this.url, ...cluster } }],
      users: [{ name: 'fake', user }],
    }
    const path = join(directory, 'kubeconfig')
    await writeFile(path, JSON.stringify(config), { mode: 0o600 })
    return path
  }

  /** Serves resources from now on, as when a definition is installed. */
  define(...resources: readonly FakeResource[]): void {
    for (const resource of resources) {
      const { group, plural } = resource
      const tell = (change: Change): void => this.watches.tell(plural, change)
      this.#stores.set(`${group}/${plural}`, new FakeObjects(resource, () => ++this.#version, tell))
    }
  }

  /** Serves them no more, as when a definition is deleted. */
  undefine(...resources: readonly FakeResource[]): void {
    for (const { group, plural } of resources) {
      this.#stores.delete(`${group}/${plural}`)
      this.watches.end(plural)
    }
  }

  /** Creates or replaces, and tells the watches. */
  put(object: FakeObject): FakeObject {
    return this.#storeOf(object.apiVersion, object.kind).put(object)
  }

  remove(apiVersion: string, kind: string, { namespace = '', name }: Names): void {
    this.#storeOf(apiVersion, kind).remove(namespace, name)
  }

  find(apiVersion: string, kind: string, { namespace = '', name }: Names): FakeObject | undefined {
    return this.#storeOf(apiVersion, kind).find(namespace, name)
  }

  /** The first request that fits, among those already read or to come. */
  async seen(match: (request: RecordedRequest) => boolean, from = 0): Promise<RecordedRequest> {
    for (;;) {
      const found = this.requests.slice(from).find(match)
      if (found !== undefined) return found
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
  }

  /** The next `times` requests that fit get this instead of their answer. Disposed of, the fault is over. */
  fault(match: (request: RecordedRequest) => boolean, fault: Fault, times = Number.POSITIVE_INFINITY): Disposable {
    const active: ActiveFault = { match, fault, left: times }
    this.#faults.push(active)
    return {
      [Symbol.dispose]: () => {
        active.left = 0
      },
    }
  }

  /** Requests are asked for this token from now on. */
  setToken(token: string): void {
    this.#token = token
  }

  /** Forgets all history: watches from before now, and lists that were begun, are expired (410). */
  compact(): void {
    this.#version++
    for (const store of this.#stores.values()) store.compact(this.#version)
    this.#pages.clear()
  }

  /** Tells the watches of a resource the present version. */
  bookmark(plural: string): void {
    this.watches.bookmark(plural, this.#resourceNamed(plural).kind, this.#version)
  }

  /** Connections are refused and those that are open break, until `comeBack`. */
  async vanish(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.watches.forget()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async comeBack(): Promise<void> {
    const at = this.#at
    if (at === undefined) this.#server.listen(this.#port, '127.0.0.1')
    else this.#server.listen({ fd: listenSocketIn(at.netnsPath, at.port) })
    await once(this.#server, 'listening')
    const address = this.#server.address()
    if (typeof address === 'object' && address !== null) this.#port = address.port
  }

  /** Connections stay, and nothing is answered: as behind a broken cable. What comes meanwhile is never answered. */
  freeze(): void {
    this.#frozen = true
    this.watches.hold()
  }

  thaw(): void {
    this.#frozen = false
    this.watches.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.vanish()
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined)
    const url = new URL(incoming.url ?? '/', this.url)
    let text = ''
    try {
      for await (const chunk of incoming) text += String(chunk)
    } catch {
      return
    }
    const { method = 'GET', headers } = incoming
    const body: unknown = text === '' ? undefined : JSON.parse(text)
    const request = { method, path: url.pathname, query: Object.fromEntries(url.searchParams), headers, body }
    this.requests.push(request)
    this.#wake()
    if (this.#frozen) return
    const active = this.#faults.find(({ left, match }) => left > 0 && match(request))
    if (active !== undefined) active.left--
    const fault = active?.fault
    if (fault === 'hang') return
    try {
      if (typeof fault === 'object' && 'status' in fault) {
        const { status, reason = '', message = 'a fault was asked for' } = fault
        for (const [name, value] of Object.entries(fault.headers ?? {})) response.setHeader(name, value)
        throw new FakeRefusal(status, reason, message)
      }
      if (this.#token !== undefined && headers.authorization !== `Bearer ${this.#token}`) {
        throw new FakeRefusal(401, 'Unauthorized', 'Unauthorized')
      }
      if (typeof fault === 'object') response.end(fault.text)
      else this.#serve(request, response, fault)
    } catch (thrown) {
      if (!(thrown instanceof FakeRefusal)) throw thrown
      const { status: code, reason, message } = thrown
      const status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code }
      sendJson(response, code, status)
    }
  }

  #serve(request: RecordedRequest, response: ServerResponse, fault: 'stall' | 'cut' | undefined): void {
    const { method, path, query } = request
    if (path === '/readyz') {
      response.end('ok')
      return
    }
    const groups = this.#discovery(path)
    if (groups !== undefined) {
      sendJson(response, 200, groups, fault)
      return
    }
    const match =
      /^\/(?:api|apis\/(?<group>[^/]+))\/(?<version>[^/]+)\/(?:namespaces\/(?<namespace>[^/]+)\/)?(?<plural>[a-z]+)(?:\/(?<name>[^/]+))?(?:\/(?<sub>status))?$/.exec(
        path,
      )
    const { group = '', version = '', namespace, plural = '', name, sub } = match?.groups ?? {}
    const store = this.#stores.get(`${group}/${plural}`)
    if (store === undefined || !store.resource.versions.includes(version)) {
      throw new FakeRefusal(404, 'NotFound', 'the server could not find the requested resource')
    }
    const apiVersion = group === '' ? version : `${group}/${version}`
    if (method === 'GET' && name === undefined) {
      if (query['watch'] !== undefined && query['watch'] !== 'false') {
        const selector = query['fieldSelector'] ?? ''
        this.watches.open({ plural, namespace, apiVersion, selector, response }, store, query)
      } else sendJson(response, 200, this.#list(store, namespace, apiVersion, query), fault)
      return
    }
    const object = change(store, request, { namespace: namespace ?? '', name, sub, apiVersion })
    sendJson(response, method === 'POST' ? 201 : 200, { ...object, apiVersion }, fault)
  }

  #discovery(path: string): object | undefined {
    const resources = [...this.#stores.values()].map(({ resource }) => resource)
    if (path === '/apis') {
      const groups = [...new Set(resources.map(({ group }) => group))].filter((group) => group !== '')
      const versionsOf = (name: string) =>
        [...new Set(resources.filter(({ group }) => group === name).flatMap(({ versions }) => versions))].map(
          (version) => ({ groupVersion: `${name}/${version}`, version }),
        )
      return { kind: 'APIGroupList', groups: groups.map((name) => ({ name, versions: versionsOf(name) })) }
    }
    const [, group = '', version = ''] = /^\/(?:api|apis\/([^/]+))\/([^/]+)$/.exec(path) ?? []
    const served = resources.filter((one) => one.group === group && one.versions.includes(version))
    if (version === '' || served.length === 0) return undefined
    return { kind: 'APIResourceList', resources: served.map(({ plural, kind }) => ({ name: plural, kind })) }
  }

  #list(
    store: FakeObjects,
    namespace: string | undefined,
    apiVersion: string,
    query: RecordedRequest['query'],
  ): object {
    const token = query['continue']
    const all = token === undefined ? store.list(namespace, query['fieldSelector'] ?? '') : this.#pages.get(token)
    if (all === undefined) throw new FakeRefusal(410, 'Expired', 'The provided continue parameter is too old')
    const limit = Number(query['limit'] ?? 0) || all.length
    const version = token?.split(':')[0] ?? String(this.#version)
    let next = {}
    if (all.length > limit) {
      const rest = `${version}:${this.#pages.size}`
      this.#pages.set(rest, all.slice(limit))
      next = { continue: rest, remainingItemCount: all.length - limit }
    }
    // Items of a list do not say what they are.
    const items = all.slice(0, limit).map(({ apiVersion: _version, kind: _kind, ...item }) => item)
    return { kind: `${store.resource.kind}List`, apiVersion, metadata: { resourceVersion: version, ...next }, items }
  }

  #storeOf(apiVersion: string, kind: string): FakeObjects {
    const group = apiVersion.includes('/') ? (apiVersion.split('/')[0] ?? '') : ''
    for (const store of this.#stores.values()) {
      if (store.resource.group === group && store.resource.kind === kind) return store
    }
    throw new Error(`The fake API server does not serve ${apiVersion} ${kind}: define it`)
  }

  #resourceNamed(plural: string): FakeResource {
    for (const { resource } of this.#stores.values()) if (resource.plural === plural) return resource
    throw new Error(`The fake API server does not serve ${plural}: define it`)
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

interface Target {
  readonly namespace: string
  readonly name: string | undefined
  readonly sub: string | undefined
  readonly apiVersion: string
}

function change(store: FakeObjects, { method, body }: RecordedRequest, target: Target): FakeObject {
  const { namespace, name, sub, apiVersion } = target
  if (method === 'POST') return store.create(named(body, store, namespace, apiVersion))
  if (name === undefined) throw new FakeRefusal(405, 'MethodNotAllowed', 'the server does not allow this method')
  const present = store.get(namespace, name)
  if (method === 'GET') return present
  if (method === 'DELETE') return store.remove(namespace, name)
  if (method !== 'PUT' && method !== 'PATCH') throw new FakeRefusal(405, 'MethodNotAllowed', `no ${method} here`)
  const given = method === 'PUT' ? body : mergePatch(present, body)
  if (!isFakeObject(given)) throw new FakeRefusal(400, 'BadRequest', 'the body is no object')
  // The subresource changes the status alone, the object itself everything but the status where there is one.
  const wanted = sub === 'status' ? { ...present, status: given['status'] } : given
  const { resourceVersion } = given.metadata
  return store.replace({ ...wanted, apiVersion, metadata: { ...wanted.metadata, resourceVersion } })
}

function named(body: unknown, { resource }: FakeObjects, namespace: string, apiVersion: string): FakeObject {
  const metadata = isRecord(body) && isRecord(body['metadata']) ? body['metadata'] : {}
  const { name, generateName } = metadata
  const full = typeof name === 'string' ? name : `${String(generateName ?? '')}${crypto.randomUUID().slice(0, 5)}`
  const place = resource.namespaced ? { namespace } : {}
  return {
    ...(isRecord(body) ? body : {}),
    apiVersion,
    kind: resource.kind,
    metadata: { ...metadata, ...place, name: full },
  }
}

function sendJson(response: ServerResponse, status: number, value: object, fault?: 'stall' | 'cut'): void {
  const text = JSON.stringify(value)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  if (fault === undefined) {
    response.end(text)
    return
  }
  response.write(text.slice(0, text.length / 2), () => {
    if (fault === 'cut') response.destroy()
  })
}
