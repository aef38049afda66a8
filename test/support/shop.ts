/**
 * A lab for tests of routing, policy and change: pods with HTTP servers whose requests the test sees itself, and
 * clients that send exactly the target and headers given. Servers and clients are in this process, their sockets in
 * the pods' namespaces, so that hundreds of requests cost little.
 */
import http from 'node:http'
import { type Lab, type LabPod, openLab, type ServiceAddresses } from './lab.ts'
import type { LabAgent, LogLine } from './lab-agent.ts'
import type { PodSpec, ServiceSpec } from './lab-manifests.ts'
import { connectSocketIn, listenSocketIn } from './pod-sockets.ts'

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
  /** Name of the server that answered; empty when it was the mesh. */
  readonly by: string
  /** What the server saw; undefined when it was the mesh that answered. */
  readonly seen: Seen | undefined
}

export interface Seen {
  readonly server: string
  readonly method: string
  readonly target: string
  readonly headers: http.IncomingHttpHeaders
  readonly remoteAddress: string
}

export interface Ask {
  /** Path and query, sent as it is. */
  readonly target?: string
  readonly method?: string
  readonly headers?: http.OutgoingHttpHeaders
  /** Of `explain` only. */
  readonly sni?: string
}

/** `explain --json`, as far as tests read it. */
export interface Explained {
  readonly route: string
  readonly rule: string
  readonly backends: readonly {
    readonly service: string
    readonly percent: number
    readonly outcome: string
    readonly detail: string
    readonly endpoints: readonly {
      readonly workload: string
      readonly usable: boolean
      readonly verdict: string
      readonly policy: string
      readonly reason: string
    }[]
  }[]
  readonly steps: readonly string[]
}

export class Shop implements AsyncDisposable {
  readonly lab: Lab
  /** Requests that reached any server, in order. */
  readonly seen: Seen[] = []
  #agent: LabAgent | undefined
  readonly #servers: http.Server[] = []

  constructor(lab: Lab) {
    this.lab = lab
  }

  get agent(): LabAgent {
    if (this.#agent === undefined) throw new Error('The agent is not started')
    return this.#agent
  }

  async start(extraArgs: readonly string[] = []): Promise<LabAgent> {
    this.#agent = await this.lab.startAgent({ proxies: 1, extraArgs })
    return this.#agent
  }

  /** Its state is elsewhere than in the lab's own directory. */
  async startOn(stateDir: string, extraArgs: readonly string[] = []): Promise<LabAgent> {
    this.#agent = await this.lab.startAgent({ proxies: 1, extraArgs, stateDir })
    return this.#agent
  }

  /** It sees, besides what the machine has mounted, what the test alone mounts for it (`lab-mounts.ts`). */
  async startWithOwnMounts(extraArgs: readonly string[] = []): Promise<LabAgent> {
    this.#agent = await this.lab.startAgent({ proxies: 1, extraArgs, ownMounts: true })
    return this.#agent
  }

  /** A pod in `shop` whose account and label `app` are its name, unless said otherwise. */
  pod(name: string, spec: Partial<PodSpec> = {}): Promise<LabPod> {
    return this.lab.addPod({ name, namespace: 'shop', serviceAccount: name, labels: { app: name }, ...spec })
  }

  /** A Service in `shop` that selects `app: NAME`, port 80 to 8080, unless said otherwise. */
  service(name: string, spec: Partial<ServiceSpec> = {}): ServiceAddresses {
    const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
    return this.lab.addService({ name, namespace: 'shop', selector: { app: name }, ports, ...spec })
  }

  /**
   * An HTTP server in the pod. It answers 200 with its name; in the query `holdMs=N` makes it wait, `wait=KEY` holds
   * the answer until `release(KEY)`.
   */
  async serve(pod: LabPod, port = 8080, name = pod.name): Promise<void> {
    const server = http.createServer((request, response) => {
      const { method = '', url = '', headers, socket } = request
      const remoteAddress = socket.remoteAddress?.replace('::ffff:', '') ?? ''
      const seen = { server: name, method, target: url, headers, remoteAddress }
      this.seen.push(seen)
      response.setHeader('x-by', name)
      response.setHeader('x-seen', Buffer.from(JSON.stringify(seen)).toString('base64'))
      request.resume()
      if (/[?&]hang\b/.test(url)) return
      const key = /[?&]wait=(\w+)/.exec(url)?.[1]
      if (key === undefined) response.end(name)
      else {
        this.#held.set(key, response)
        this.#arrived.get(key)?.resolve()
        if (/[?&]stream\b/.test(url)) response.write('begun ')
      }
    })
    server.keepAliveTimeout = 60_000
    server.on('upgrade', (_request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
      socket.on('error', () => {})
      socket.pipe(socket)
    })
    server.on('connection', (socket) => socket.on('error', () => {}))
    const listening = Promise.withResolvers<void>()
    server.listen({ fd: listenSocketIn(pod.netnsPath, port) }, () => listening.resolve())
    await listening.promise
    this.#servers.push(server)
  }

  readonly #held = new Map<string, http.ServerResponse>()
  readonly #arrived = new Map<string, PromiseWithResolvers<void>>()

  /** Resolves when a request with `wait=KEY` has reached a server; to be called before it is sent. */
  arrival(key: string): Promise<void> {
    const arrival = Promise.withResolvers<void>()
    this.#arrived.set(key, arrival)
    return arrival.promise
  }

  /** Sends more of the answer that waits. */
  write(key: string, text: string): void {
    this.#held.get(key)?.write(text)
  }

  release(key: string, text = 'released'): void {
    this.#held.get(key)?.end(text)
    this.#held.delete(key)
  }

  /** One request on a connection of its own. */
  async ask(from: { readonly netnsPath: string }, address: string, port: number, ask: Ask = {}): Promise<Answer> {
    const socket = await connectSocketIn(from.netnsPath, address, port)
    return await this.send({ createConnection: () => socket }, address, port, ask)
  }

  /** One request through an agent (keep-alive) or on a given connection. */
  send(how: http.RequestOptions, address: string, port: number, ask: Ask = {}): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const request = http.request(
      {
        ...how,
        host: address,
        port,
        path: ask.target ?? '/',
        method: ask.method ?? 'GET',
        headers: { connection: 'close', ...ask.headers },
      },
      (response) => {
        let body = ''
        response.setEncoding('latin1')
        response.on('data', (text: string) => {
          body += text
        })
        response.on('error', reject)
        response.on('end', () => {
          const { 'x-by': by, 'x-seen': seen, ...headers } = response.headers
          const text = typeof seen === 'string' ? Buffer.from(seen, 'base64').toString() : undefined
          resolve({
            status: response.statusCode ?? 0,
            headers,
            body,
            by: typeof by === 'string' ? by : '',
            seen: text === undefined ? undefined : (JSON.parse(text) as Seen),
          })
        })
      },
    )
    request.setTimeout(20_000, () => request.destroy(new Error(`No answer to ${ask.target ?? '/'}`)))
    request.on('error', reject)
    request.end()
    return promise
  }

  /** Replaces the contents of `test.yaml` and waits until the proxy has applied it. */
  async apply(...documents: readonly string[]): Promise<LogLine> {
    return await this.change(() => this.lab.apply(documents.join('\n---\n') || '# nothing', 'test.yaml'))
  }

  /** Waits until the proxy has applied the world that the edits made. */
  async change(edit: () => unknown): Promise<LogLine> {
    const from = this.agent.logs.length
    await edit()
    return await this.agent.waitFor('world applied', { from })
  }

  async explain(from: LabPod, to: string, ask: Ask = {}): Promise<Explained> {
    const args = ['--json', '--from', `${from.namespace}/${from.name}`, '--to', to]
    if (ask.method !== undefined) args.push('--method', ask.method)
    for (const [name, value] of Object.entries(ask.headers ?? {})) args.push('--header', `${name}:${String(value)}`)
    if (ask.sni !== undefined) args.push('--sni', ask.sni)
    const { code, stdout, stderr } = await this.agent.cli('explain', args)
    if (code !== 0) throw new Error(`weir explain ended with ${code}: ${stderr}`)
    return JSON.parse(stdout) as Explained
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
    await this.lab.close()
  }
}

export async function openShop(t: { passing(): boolean }): Promise<Shop> {
  return new Shop(await openLab({ t }))
}
