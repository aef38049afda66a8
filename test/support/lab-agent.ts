/** An agent that runs on a lab's node: its log lines as values, the command line against it, its end. */
import { join } from 'node:path'
import type { LabHost } from './lab-host.ts'
import type { ExecOptions, ExecResult, LabProcess } from './lab-process.ts'

const WEIR = join(import.meta.dirname, '../../scripts/weir')

const OWN_MOUNTS: [string, string[]] = ['unshare', ['--mount', '--propagation', 'slave', WEIR]]

export type LogLine = Readonly<Record<string, unknown>>

export interface AgentOptions {
  readonly proxies?: number
  readonly extraArgs?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Wait for the `ready` line; true by default. */
  readonly waitReady?: boolean
  /** For another agent on the same node. */
  readonly stateDir?: string
  /** Follows that cluster, not the lab's manifests. */
  readonly kubeconfig?: string
  /** Sees what the machine has mounted, and besides what the test alone mounts for it (`lab-mounts.ts`). */
  readonly ownMounts?: boolean
}

export interface AgentPlace {
  readonly host: LabHost
  readonly manifestsDir: string
  readonly stateDir: string
}

export class LabAgent implements AsyncDisposable {
  readonly process: LabProcess
  readonly #place: AgentPlace
  readonly #logs: LogLine[] = []
  #parsedTo = 0

  constructor(place: AgentPlace, options: AgentOptions) {
    this.#place = place
    const { kubeconfig } = options
    const source =
      kubeconfig === undefined ? ['--manifests', place.manifestsDir] : ['--kubernetes', '--kubeconfig', kubeconfig]
    const args = ['agent', '--node', place.host.name, ...source, '--state-dir', place.stateDir]
    if (options.proxies !== undefined) args.push('--proxies', String(options.proxies))
    args.push(...(options.extraArgs ?? []))
    const [program, first] = options.ownMounts === true ? OWN_MOUNTS : [WEIR, []]
    this.process = place.host.spawn(program, [...first, ...args], options.env === undefined ? {} : { env: options.env })
  }

  get pid(): number {
    return this.process.pid
  }

  /** All complete log lines so far; a line that is not JSON is `{ msg: 'not JSON', text }`. */
  get logs(): readonly LogLine[] {
    const { stdout } = this.process
    for (let end = stdout.indexOf('\n', this.#parsedTo); end !== -1; end = stdout.indexOf('\n', this.#parsedTo)) {
      const text = stdout.slice(this.#parsedTo, end)
      this.#parsedTo = end + 1
      if (text !== '') this.#logs.push(parseLine(text))
    }
    return this.#logs
  }

  /**
   * Waits for a log line. Past lines count too, from index `from` on:
   * `const from = agent.logs.length; …; await agent.waitFor(line => …, { from })`.
   * @param wanted a predicate, or the text of `msg`.
   */
  waitFor(
    wanted: string | ((line: LogLine) => boolean),
    { from = 0, timeoutMs = 30_000 }: { readonly from?: number; readonly timeoutMs?: number } = {},
  ): Promise<LogLine> {
    const matches = typeof wanted === 'string' ? (line: LogLine) => line['msg'] === wanted : wanted
    let next = from
    const probe = () => {
      const { logs } = this
      for (; next < logs.length; next++) {
        const line = logs[next]
        if (line && matches(line)) return line
      }
      return undefined
    }
    return this.process.until(typeof wanted === 'string' ? `log line "${wanted}"` : 'a log line', probe, timeoutMs)
  }

  /** Runs `weir VERB …` against this agent, on its node. */
  cli(verb: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return this.#place.host.exec(WEIR, [verb, ...args, '--state-dir', this.#place.stateDir], options)
  }

  /** Of its first proxy; fails when there is none: 0, to `kill`, is the test itself. */
  async proxyPid(): Promise<number> {
    const { stdout } = await this.cli('status', ['--json'])
    const pid = (JSON.parse(stdout) as { proxies: { pid: number }[] }).proxies[0]?.pid ?? 0
    if (pid <= 1) throw new Error(`There is no proxy: ${stdout}`)
    return pid
  }

  /** SIGTERM by default; fails with all its output when it must be killed. @returns its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    const code = await this.process.stop(signal)
    if (code === -1 && signal !== 'SIGKILL')
      throw new Error(`The agent did not end by itself\n${this.process.output()}`)
    return code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop('SIGTERM')
  }
}

function parseLine(text: string): LogLine {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value as LogLine
  } catch {
    // Told below.
  }
  return { msg: 'not JSON', text }
}
