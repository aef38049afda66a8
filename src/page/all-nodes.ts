/** Asks all nodes at once. */
import type { AlertsAnswer, DiagnoseAnswer, TrafficAnswer } from '#contract'
import { type Asked, ask, pathAt } from './ask.ts'
import type { Need } from './data.ts'
import { addTraffic, joinAlerts, joinFindings } from './join-nodes.ts'

export interface AskedNode {
  readonly name: string
  /** As in paths: empty for the agent's own. */
  readonly node: string
}

export type AskedAll = Asked<unknown> & {
  /** Which nodes did not tell, and why. */
  readonly missing?: string
}

export class AllNodes {
  /** A node that is silent for a moment has not done anything meanwhile, as far as one knows. */
  #traffic = new Map<string, TrafficAnswer>()

  async ask(need: Need, nodes: readonly AskedNode[]): Promise<AskedAll> {
    if (need === 'status') return await ask('/status')
    const answers = await Promise.all(
      nodes.map(async ({ name, node }) => ({ name, node, answer: await ask(pathAt(node, `/${need}`)) })),
    )
    const told = answers.flatMap(({ name, answer }) =>
      answer.kind === 'answer' ? [{ name, value: answer.value }] : [],
    )
    const own = answers.find(({ node }) => node === '')?.answer
    if (
      own !== undefined &&
      own.kind !== 'answer' &&
      (told.length === 0 || (own.kind === 'refused' && own.status === 401))
    )
      return own
    const missing = answers
      .flatMap(({ name, answer }) => {
        if (answer.kind === 'answer') return []
        return [answer.kind === 'gone' ? `Node ${name} does not answer.` : `Node ${name}: ${answer.says}.`]
      })
      .join(' ')
    return { kind: 'answer', value: this.#joined(need, told), missing }
  }

  #joined(need: Need, told: readonly { readonly name: string; readonly value: unknown }[]): unknown {
    if (need === 'diagnose') return joinFindings(told.map(({ name, value }) => [name, value as DiagnoseAnswer]))
    if (need === 'alerts') return joinAlerts(told.map(({ value }) => value as AlertsAnswer))
    for (const { name, value } of told) this.#traffic.set(name, value as TrafficAnswer)
    return addTraffic(this.#traffic, performance.now())
  }
}
