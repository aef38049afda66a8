/** tcpdump on the fabric's interface of a node: everything between its start and its stop, and nothing missing. */
import { randomBytes } from 'node:crypto'
import type { LabHost } from './lab-host.ts'
import { type CapturedTraffic, parseCapture } from './lab-pcap.ts'
import type { LabProcess } from './lab-process.ts'

export class LabCapture implements AsyncDisposable {
  readonly #fabric: LabHost
  readonly #tcpdump: LabProcess
  readonly #port: string
  readonly #farEnd: string

  private constructor(fabric: LabHost, port: string, farEnd: string) {
    this.#fabric = fabric
    this.#port = port
    this.#farEnd = farEnd
    this.#tcpdump = fabric.spawn('tcpdump', ['-i', port, '-n', '-U', '-w', '-'], { encoding: 'latin1' })
  }

  /**
   * Resolves when packets are being recorded; they are kept in memory.
   * @param farEnd the address at the other end of the port.
   */
  static async start(fabric: LabHost, port: string, farEnd: string): Promise<LabCapture> {
    const capture = new LabCapture(fabric, port, farEnd)
    const tcpdump = capture.#tcpdump
    await tcpdump.until('tcpdump to listen', () => tcpdump.stderr.includes('listening on') || undefined)
    return capture
  }

  /**
   * Ends the recording. What was sent before is in it: a marked ping goes the same way and is waited for.
   * Fails when the kernel could not record everything, for then nothing can be said to be absent.
   */
  async stop(): Promise<CapturedTraffic> {
    const tcpdump = this.#tcpdump
    const mark = randomBytes(16)
    const ping = ['-c', '1', '-W', '5', '-s', '64', '-p', mark.toString('hex'), '-I', this.#port, this.#farEnd]
    const { code, stdout, stderr } = await this.#fabric.exec('ping', ping)
    if (code !== 0) throw new Error(`The end of the capture could not be marked: ${stdout}${stderr}`)
    const text = mark.toString('latin1')
    await tcpdump.until('the mark at the end of the capture', () => tcpdump.stdout.includes(text) || undefined)
    await tcpdump.stop('SIGINT')
    const dropped = /(\d+) packets? dropped by kernel/.exec(tcpdump.stderr)?.[1]
    if (dropped !== '0') throw new Error(`The capture is not complete: ${tcpdump.stderr}`)
    return parseCapture(Buffer.from(tcpdump.stdout, 'latin1'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tcpdump.stop('SIGKILL')
  }
}
