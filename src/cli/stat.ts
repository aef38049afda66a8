/** `weir stat`: what went on during a window, per Service or workload. */
import { textValue } from './arguments.ts'
import { jsonOutput } from './ask-json.ts'
import { EXIT_OK } from './exit-code.ts'
import { readSort, SORT_HELP } from './top.ts'
import { PERCENTILE_NOTE, renderHead, renderNamed } from './traffic-table.ts'
import { lookFor, readWindow, WINDOW_HELP } from './traffic-window.ts'
import type { Verb } from './verb.ts'

export const statVerb: Verb = {
  name: 'stat',
  summary: 'what went on during some seconds, per Service and workload of this node',
  usage: '[NAMESPACE | NAME | NAMESPACE/NAME] [--window SECONDS] [--sort COLUMN]',
  maxWords: 1,
  options: { window: { type: 'string' }, sort: { type: 'string' } },
  optionHelp: [WINDOW_HELP, SORT_HELP],
  examples: ['stat shop --window 30', 'stat shop/reviews --json'],
  exitHelp: '0 told, also when nothing went on',
  async run({ ask, json, values, words: [only] }) {
    const seconds = readWindow('stat', values)
    if (typeof seconds !== 'number') return seconds
    const sort = readSort('stat', textValue(values, 'sort'))
    if (typeof sort !== 'string') return sort
    const looked = await lookFor(ask, seconds)
    if (looked.kind === 'failed') return looked.result
    const isMeant = ({ name }: { readonly name: string }) =>
      only === undefined || name === only || (!only.includes('/') && name.split('/').includes(only))
    const services = looked.traffic.services.filter(isMeant)
    const workloads = looked.traffic.workloads.filter(isMeant)
    const { node } = looked.traffic
    if (json) {
      return { exitCode: EXIT_OK, output: jsonOutput({ node, seconds: looked.traffic.seconds, services, workloads }) }
    }
    const tables = [renderNamed('SERVICE', services, sort), renderNamed('WORKLOAD', workloads, sort)]
    const shown = tables.filter((table) => table !== '').join('\n')
    const nothing =
      only === undefined
        ? 'Nothing.'
        : `Nothing of ${only} was seen since the proxies were started. Is the name right? weir edges lists who has talked to whom.`
    const body = shown === '' ? `${nothing}\n` : `${shown}\n${PERCENTILE_NOTE}\n`
    return { exitCode: EXIT_OK, output: `${renderHead(looked.traffic)}\n${body}` }
  },
}
