/** A collector of traces in a process of its own, on a node of a lab; what it got can be waited for. */
import { join } from 'node:path'
import type { LabHost } from './lab-host.ts'
import type { LabProcess } from './lab-process.ts'

export interface SeenSpan {
  readonly scope: string
  readonly resource: Readonly<Record<string, string | number | boolean>>
  readonly name: string
  readonly kind: 'client' | 'server'
  readonly traceId: string
  readonly spanId: string
  /** Empty: the trace begins with it. */
  readonly parentId: string
  readonly sampled: boolean
  readonly startMs: number
  readonly durationMs: number
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly events: readonly {
    readonly name: string
    readonly attributes: Readonly<Record<string, string | number | boolean>>
  }[]
  readonly status: 'unset' | 'error'
  readonly message: string
}

const COMMAND = join(import.meta.dirname, 'otlp-receiver-command.ts')
const PORT = 4318

export class OtlpReceiver {
  readonly process: LabProcess

  private constructor(process: LabProcess) {
    this.process = process
  }

  /** @param status of its answers; with another than 200 it takes nothing */
  static async start(host: LabHost, status = 200): Promise<OtlpReceiver> {
    const args = [COMMAND, host.ipv4, String(PORT), String(status)]
    const receiver = new OtlpReceiver(host.spawn(process.execPath, args))
    await receiver.process.waitForLine(/^listening/)
    return receiver
  }

  /** Where it takes traces. */
  static url(host: LabHost): string {
    return `http://${host.ipv4}:${PORT}/v1/traces`
  }

  get spans(): readonly SeenSpan[] {
    return this.process.stdout
      .split('\n')
      .slice(0, -1)
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as SeenSpan)
  }

  /** Of the trace, once there are so many: by their parents, the first one first. */
  async trace(traceId: string, count: number): Promise<readonly SeenSpan[]> {
    const found = () => this.spans.filter((span) => span.traceId === traceId)
    await this.process.until(`${count} spans of trace ${traceId}`, () => (found().length >= count ? true : undefined))
    const spans = found()
    const depth = ({ parentId }: SeenSpan): number => {
      const parent = spans.find(({ spanId }) => spanId === parentId)
      return parent === undefined ? 0 : 1 + depth(parent)
    }
    return spans.sort((a, b) => depth(a) - depth(b))
  }

  /** The span that matches, once it is there. */
  span(what: string, matches: (span: SeenSpan) => boolean): Promise<SeenSpan> {
    return this.process.until(`a span of ${what}`, () => this.spans.find(matches))
  }

  async stop(): Promise<void> {
    await this.process.stop('SIGKILL')
  }
}
