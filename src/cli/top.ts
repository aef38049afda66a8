/** `weir top`: what goes on now, per Service and per edge, again and again until it is ended. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { TrafficAnswer } from '#contract'
import { type Traffic, trafficBetween } from '#observer'
import { textValue } from './arguments.ts'
import { jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_USAGE } from './exit-code.ts'
import { PERCENTILE_NOTE, renderEdges, renderHead, renderNamed, SORTS, type Sort } from './traffic-table.ts'
import { askTraffic, lookFor, readWindow, WINDOW_HELP } from './traffic-window.ts'
import type { Verb, VerbCall, VerbResult } from './verb.ts'

export const SORT_HELP = `--sort COLUMN          ${SORTS.join(', ')}; default requests`
/** Of a terminal: to the upper left, then what is below is cleared. */
const HOME = '\u001b[H'
const CLEAR_BELOW = '\u001b[J'

export const topVerb: Verb = {
  name: 'top',
  summary: 'what goes on now, per Service and edge of this node',
  usage: '[--once] [--window SECONDS] [--sort COLUMN]',
  options: { once: { type: 'boolean' }, window: { type: 'string' }, sort: { type: 'string' } },
  optionHelp: [
    '--once                 one look, then end; so it is, too, where the output is no terminal',
    WINDOW_HELP,
    SORT_HELP,
  ],
  examples: ['top', 'top --once --window 10 --sort p99'],
  exitHelp: '0 told, also when nothing goes on',
  async run(call) {
    const seconds = readWindow('top', call.values)
    if (typeof seconds !== 'number') return seconds
    const sort = readSort('top', textValue(call.values, 'sort'))
    if (typeof sort !== 'string') return sort
    if (!call.json && call.values['once'] !== true && call.isTerminal) return await follow(call, seconds, sort)
    const looked = await lookFor(call.ask, seconds)
    if (looked.kind === 'failed') return looked.result
    const { traffic } = looked
    return { exitCode: EXIT_OK, output: call.json ? jsonOutput(traffic) : renderTraffic(traffic, sort) }
  },
}

/** Until it is ended, the agent is gone, or nobody reads any more. */
async function follow({ ask, print }: VerbCall, seconds: number, sort: Sort): Promise<VerbResult> {
  let before: TrafficAnswer | undefined
  for (;;) {
    const asked = await askTraffic(ask)
    if (asked.kind === 'failed') return asked.result
    const text =
      before === undefined ? `Looking for ${seconds} s …\n` : renderTraffic(trafficBetween(before, asked.value), sort)
    before = asked.value
    if (!(await print(`${HOME}${text.replaceAll('\n', '\u001b[K\n')}${CLEAR_BELOW}`))) {
      return { exitCode: EXIT_OK, output: '' }
    }
    await sleep(seconds * 1000)
  }
}

function renderTraffic(traffic: Traffic, sort: Sort): string {
  // What did not move is not what goes on now.
  const isBusy = (row: { readonly requests: number; readonly connections: number; readonly bytesPerSecond: number }) =>
    row.requests > 0 || row.connections > 0 || row.bytesPerSecond > 0
  const services = renderNamed('SERVICE', traffic.services.filter(isBusy), sort)
  const edges = renderEdges(traffic.edges.filter(isBusy), sort)
  const shown = [services, edges].filter((table) => table !== '').join('\n')
  return `${renderHead(traffic)}\n${shown === '' ? 'Nothing goes on.\n' : `${shown}\n${PERCENTILE_NOTE}\n`}`
}

export function readSort(verb: string, text: string | undefined): Sort | VerbResult {
  const sort = SORTS.find((one) => one === (text ?? 'requests'))
  if (sort !== undefined) return sort
  const error = `weir ${verb} --sort: expected one of ${SORTS.join(', ')}, got ${JSON.stringify(text)}`
  return { exitCode: EXIT_USAGE, output: '', error }
}
