/**
 * A lab for tests of the data path: two client pods and a server pod on one node, under a running agent.
 * Every test takes a server port of its own, so that no pooled connection of an earlier test is in its way.
 */

import { type Lab, type LabPod, openLab, type ServiceAddresses } from './lab.ts'
import type { LabAgent } from './lab-agent.ts'
import { connectIn, listenIn, type RawServer, type RawSocket } from './raw-socket.ts'

const FIRST_PORT = 9001
const PORTS = 60

export interface ProxyState {
  readonly rssBytes: number
  readonly worldVersion: number
  readonly connections: number
  readonly requestsInFlight: number
  readonly restarts: number
}

/** A raw server in the pod `web`, and ways to it. */
export interface Reach extends AsyncDisposable {
  readonly port: number
  readonly server: RawServer
  /** From the pod `client`, to the Service's IPv4 address. */
  connect(): Promise<RawSocket>
}

export class DataPath implements AsyncDisposable {
  readonly lab: Lab
  readonly client: LabPod
  /** Another client pod. */
  readonly other: LabPod
  readonly web: LabPod
  readonly service: ServiceAddresses
  readonly agent: LabAgent
  #ports = 0

  constructor(lab: Lab, pods: readonly [LabPod, LabPod, LabPod], service: ServiceAddresses, agent: LabAgent) {
    this.lab = lab
    ;[this.client, this.other, this.web] = pods
    this.service = service
    this.agent = agent
  }

  /** A port of the Service that nothing has used yet. */
  port(): number {
    if (this.#ports === PORTS) throw new Error('The Service has no port left: raise PORTS')
    return FIRST_PORT + this.#ports++
  }

  async listen(serve?: (connection: RawSocket) => unknown): Promise<Reach> {
    const port = this.port()
    const server = await listenIn(this.web.netnsPath, port, serve)
    return {
      port,
      server,
      connect: () => connectIn(this.client.netnsPath, this.service.ipv4, port),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  }

  /** What `weir status` says of the only proxy. */
  async proxy(): Promise<ProxyState> {
    const { stdout } = await this.agent.cli('status', ['--json'])
    const [proxy] = (JSON.parse(stdout) as { proxies: ProxyState[] }).proxies
    if (proxy === undefined) throw new Error(`No proxy in ${stdout}`)
    return proxy
  }

  /** Makes a change to the lab's objects; resolves when the proxy goes by it. */
  async change<T>(apply: () => T): Promise<T> {
    const { worldVersion } = await this.proxy()
    const result = apply()
    while ((await this.proxy()).worldVersion === worldVersion);
    return result
  }

  /** Asks until no pod holds a connection. */
  async drained(): Promise<void> {
    for (let asked = 0; ; asked++) {
      const { connections, requestsInFlight } = await this.proxy()
      if (connections === 0 && requestsInFlight === 0) return
      if (asked === 40) throw new Error(`${connections} connections and ${requestsInFlight} requests are left`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.close()
  }
}

/** @param extraArgs further arguments of the agent, e.g. small limits. */
export async function openDataPath(t: { passing(): boolean }, extraArgs: readonly string[] = []): Promise<DataPath> {
  const lab = await openLab({ t })
  try {
    const pod = (name: string) => lab.addPod({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
    const pods = [await pod('client'), await pod('other'), await pod('web')] as const
    const ports = Array.from({ length: PORTS }, (_, i) => ({ name: `port-${i}`, port: FIRST_PORT + i }))
    const service = lab.addService({ name: 'web', namespace: 'shop', selector: { app: 'web' }, ports })
    const agent = await lab.startAgent({ proxies: 1, extraArgs })
    return new DataPath(lab, pods, service, agent)
  } catch (thrown) {
    await lab.close()
    throw thrown
  }
}

/** Answers every request of a connection with 200 and its body, and counts on. */
export async function answerAll(connection: RawSocket, body: (start: string) => string = () => 'ok'): Promise<void> {
  while (connection.ending === 'open') {
    const request = await connection.wait('a request or the end', () =>
      connection.peek().includes('\r\n\r\n') ? true : connection.ending === 'open' ? undefined : false,
    )
    if (!request) return
    const { start } = await connection.message()
    const text = body(start)
    await connection.send(`HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\n\r\n${text}`)
  }
}
