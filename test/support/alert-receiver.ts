/** A receiver of alerts: a process of its own on a node of a lab, that tells what it got. */
import type { LabHost } from './lab-host.ts'
import type { LabProcess } from './lab-process.ts'

/** As Alertmanager's `webhook_config` sends it. */
export interface ReceivedAlerts {
  readonly version: string
  readonly status: string
  readonly receiver: string
  readonly groupKey: string
  readonly groupLabels: Readonly<Record<string, string>>
  readonly commonLabels: Readonly<Record<string, string>>
  readonly commonAnnotations: Readonly<Record<string, string>>
  readonly externalURL: string
  readonly truncatedAlerts: number
  readonly alerts: readonly {
    readonly status: string
    readonly labels: Readonly<Record<string, string>>
    readonly annotations: Readonly<Record<string, string>>
    readonly startsAt: string
    readonly endsAt: string
    readonly generatorURL: string
    readonly fingerprint: string
  }[]
}

export interface Received {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: ReceivedAlerts
}

/** Arguments: port, status; with a key and a certificate (PEM) it speaks TLS. */
const SERVER = `
import http from 'node:http'
import https from 'node:https'
const [port, status, key, cert] = process.argv.slice(1).filter((one) => one !== '--')
const handle = (request, response) => {
  let text = ''
  request.setEncoding('utf8').on('data', (part) => { text += part }).on('end', () => {
    console.log('got ' + JSON.stringify({ url: request.url, headers: request.headers, body: JSON.parse(text) }))
    response.writeHead(Number(status)).end('noted')
  })
}
const server = key ? https.createServer({ key, cert }, handle) : http.createServer(handle)
server.listen(Number(port), '127.0.0.1', () => console.log('listening'))
`

export class AlertReceiver implements AsyncDisposable {
  readonly #process: LabProcess

  private constructor(process: LabProcess) {
    this.#process = process
  }

  static async start(host: LabHost, port: number, status = 200, tls: readonly string[] = []): Promise<AlertReceiver> {
    return new AlertReceiver(await host.node(SERVER, [String(port), String(status), ...tls]))
  }

  /** In the order in which they came. */
  get received(): readonly Received[] {
    return this.#process.stdout.split('\n').flatMap((line) => {
      return line.startsWith('got ') ? [JSON.parse(line.slice(4)) as Received] : []
    })
  }

  /** All so far count. */
  waitFor(what: string, wanted: (received: Received) => boolean, timeoutMs?: number): Promise<Received> {
    return this.#process.until(what, () => this.received.find(wanted), timeoutMs)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop('SIGKILL')
  }
}
