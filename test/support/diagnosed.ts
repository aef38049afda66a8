/** What a running agent finds wrong, waited for; each finding's next command is run as it is printed. */
import { setTimeout as delay } from 'node:timers/promises'
import type { DiagnoseAnswer, Finding, FindingKind } from '#contract'
import type { LabAgent } from './lab-agent.ts'
import type { Shop } from './shop.ts'

/** So often the agent looks: what needs minutes in life needs seconds. */
export const LOOK_ARGS = ['--look-ms', '200']
const ASK_MS = 100
const PATIENCE_MS = 40_000
const EXIT_USAGE = 64

export class Diagnosed {
  readonly #shop: Shop
  readonly #agent: LabAgent
  readonly #patienceMs: number

  /** @param patienceMs what is waited for may need so long on a machine that has nothing else to do, and more */
  constructor(shop: Shop, agent: LabAgent = shop.agent, patienceMs = PATIENCE_MS) {
    this.#shop = shop
    this.#agent = agent
    this.#patienceMs = patienceMs
  }

  async now(): Promise<DiagnoseAnswer> {
    const node = { netnsPath: `/run/netns/${this.#shop.lab.node.netns}` }
    const { status, body } = await this.#shop.ask(node, '127.0.0.1', 15000, { target: '/diagnose' })
    if (status !== 200) throw new Error(`/diagnose was answered with ${status}: ${body}`)
    return JSON.parse(body) as DiagnoseAnswer
  }

  /** Waits until it is found, and runs the command that it names. */
  async found(
    kind: FindingKind,
    subject: string,
    isRight: (finding: Finding) => boolean = () => true,
  ): Promise<Finding> {
    const is = (one: Finding) => one.kind === kind && one.subject === subject && isRight(one)
    const { findings } = await this.until(`${kind} ${subject}`, (answer) => answer.findings.some(is))
    const finding = findings.find(is)
    if (finding === undefined) throw new Error('It was there')
    await this.#follow(finding)
    return finding
  }

  /** Waits until no such thing is found any more. */
  async gone(kind: FindingKind, subject: string): Promise<DiagnoseAnswer> {
    return await this.until(`no ${kind} ${subject}`, ({ findings }) => {
      return !findings.some((one) => one.kind === kind && one.subject === subject)
    })
  }

  /** Waits until nothing about the test's own pods and requests is found. */
  async quiet(): Promise<void> {
    await this.until('nothing', (answer) => ofShop(answer).length === 0)
  }

  /** Waits for so many looks more. */
  async looked(times: number): Promise<DiagnoseAnswer> {
    const { looks } = await this.now()
    return await this.until(`${times} looks`, (answer) => answer.looks >= looks + times)
  }

  /** Waits until what is found is as wanted. */
  async until(what: string, isWanted: (answer: DiagnoseAnswer) => boolean): Promise<DiagnoseAnswer> {
    let last: DiagnoseAnswer | undefined
    for (let waitedMs = 0; waitedMs < this.#patienceMs; waitedMs += ASK_MS) {
      last = await this.now()
      if (isWanted(last)) return last
      await delay(ASK_MS)
    }
    throw new Error(`Waited in vain for ${what}; found was ${JSON.stringify(last, undefined, 1)}`)
  }

  async #follow({ next }: Finding): Promise<void> {
    const [weir, verb = '', ...args] = next.split(' ')
    const { code, stderr } = await this.#agent.cli(verb, verb === 'top' ? [...args, '--window', '1'] : args)
    if (weir !== 'weir' || code === EXIT_USAGE) throw new Error(`${next} ended with ${code}: ${stderr}`)
  }
}

/** What is about the requests of a test, and not about the machine that runs it, nor about programs that have just begun. */
export function ofShop({ findings }: DiagnoseAnswer): readonly Finding[] {
  return findings.filter(({ kind }) => !OF_MACHINE.has(kind))
}

const OF_MACHINE: ReadonlySet<FindingKind> = new Set(['node-saturated', 'proxy-saturated', 'memory-leak'])
