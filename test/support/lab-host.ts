/** A namespace of the lab seen as a machine on which things run: a node, a pod, the fabric. */
import { join } from 'node:path'
import { netnsPath } from './lab-network.ts'
import { type ExecOptions, type ExecResult, execInNetns, LabProcess, type SpawnOptions } from './lab-process.ts'

const ECHO_SERVER = join(import.meta.dirname, 'lab-echo-server.ts')
const CURL_MARK = '\n--lab-curl--\n'

export interface CurlResult {
  /** curl's exit code; 0 when an answer was received, whatever its status. */
  readonly code: number
  /** 0 without an answer. */
  readonly status: number
  /** By lower-case name, all values in order. */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly body: string
  readonly stderr: string
}

/** What the echo server answers, as JSON. */
export interface EchoAnswer {
  /** The server's own name. */
  readonly name: string
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly trailers: Readonly<Record<string, string>>
  /** IPv4 addresses without `::ffff:`. */
  readonly remoteAddress: string
  readonly body: string
}

export interface EchoOptions {
  /** 8080 */
  readonly port?: number
  /** Name in its answers; the host's name by default. */
  readonly name?: string
  /** `::`, which is both families. */
  readonly host?: string
}

export class LabHost {
  readonly name: string
  readonly netns: string
  readonly netnsPath: string
  readonly ipv4: string
  /** Undefined in a lab without IPv6. */
  readonly ipv6: string | undefined
  readonly #own: (process: LabProcess) => void

  /** @param own is told of every long-running process, so that the lab ends it. */
  constructor(
    name: string,
    netns: string,
    addresses: { readonly ipv4: string; readonly ipv6: string | undefined },
    own: (process: LabProcess) => void,
  ) {
    this.name = name
    this.netns = netns
    this.netnsPath = netnsPath(netns)
    this.ipv4 = addresses.ipv4
    this.ipv6 = addresses.ipv6
    this.#own = own
  }

  /** IPv4 first. */
  get addresses(): readonly string[] {
    return this.ipv6 === undefined ? [this.ipv4] : [this.ipv4, this.ipv6]
  }

  exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return execInNetns(this.netns, command, args, options)
  }

  /** Starts a process that lives until it ends, is stopped, or the lab is closed. */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): LabProcess {
    const process = new LabProcess(this.netns, command, args, options)
    this.#own(process)
    return process
  }

  /** Runs an ES module's text with the pinned Node; resolves once it has printed a line that begins `listening`. */
  async node(script: string, args: readonly string[] = []): Promise<LabProcess> {
    const server = this.spawn(process.execPath, ['--input-type=module', '-e', script, '--', ...args])
    await server.waitForLine(/^listening/)
    return server
  }

  /** Starts the echo server (see lab-echo-server.ts for what its query parameters do); resolves when it listens. */
  async echoServer(options: EchoOptions = {}): Promise<LabProcess> {
    const settings = { port: options.port ?? 8080, name: options.name ?? this.name, host: options.host ?? '::' }
    const server = this.spawn(process.execPath, [ECHO_SERVER, JSON.stringify(settings)])
    await server.waitForLine(/^listening/)
    return server
  }

  /** One request with curl (10 s at most); `args` are further arguments of curl. */
  async curl(url: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<CurlResult> {
    const writeOut = `${CURL_MARK}%{http_code}\n%{header_json}`
    const all = ['-sS', '--globoff', '-m', '10', '-w', writeOut, ...args, url]
    const { code, stdout, stderr } = await this.exec('curl', all, options)
    const at = stdout.lastIndexOf(CURL_MARK)
    if (at === -1) return { code, status: 0, headers: {}, body: stdout, stderr }
    const [status = '0', ...headerLines] = stdout.slice(at + CURL_MARK.length).split('\n')
    const headers = JSON.parse(headerLines.join('\n') || '{}') as Record<string, string[]>
    return { code, status: Number(status), headers, body: stdout.slice(0, at), stderr }
  }

  /** A request with curl to an echo server; fails with what came instead when that is not its answer. */
  async echo(url: string, args: readonly string[] = []): Promise<EchoAnswer> {
    const { status, body, stderr } = await this.curl(url, args)
    if (status !== 200) throw new Error(`${url} answered ${status}: ${body}${stderr}`)
    return JSON.parse(body) as EchoAnswer
  }
}
