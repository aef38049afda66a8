/** `weir explain`: what would become of a request, in words: route, backends, policy. */

import type { ExplainAnswer } from '#contract'
import { textValue, textValues } from './arguments.ts'
import { askJson, type JsonFailed, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_USAGE } from './exit-code.ts'
import { printable } from './table.ts'
import type { Verb, VerbResult } from './verb.ts'

export const explainVerb: Verb = {
  name: 'explain',
  summary: 'what would become of a request: route, backends, policy',
  usage: '--from NAMESPACE/POD --to URL [--method METHOD] [--header NAME:VALUE]... [--sni NAME]',
  options: {
    from: { type: 'string' },
    to: { type: 'string' },
    method: { type: 'string' },
    header: { type: 'string', multiple: true },
    sni: { type: 'string' },
  },
  optionHelp: [
    '--from NAMESPACE/POD   the client',
    '--to URL               as the client would write it, e.g. http://reviews:8080/v1',
    '--method METHOD        GET unless given',
    '--header NAME:VALUE    any number of times',
    '--sni NAME             server name of TLS; the host of an https:// URL unless given',
  ],
  examples: [
    'explain --from shop/client --to http://reviews/x --header x-canary:v2',
    'explain --from shop/client --to tcp://db.data:5432',
  ],
  exitHelp: '0 explained (also a request that is denied or fails), 1 no answer',
  async run({ ask, json, values }) {
    const from = textValue(values, 'from')
    const to = textValue(values, 'to')
    if (from === undefined || to === undefined) {
      const error = 'weir explain needs --from NAMESPACE/POD and --to URL (see weir explain --help)'
      return { exitCode: EXIT_USAGE, output: '', error }
    }
    const query = new URLSearchParams({ from, to, method: textValue(values, 'method') ?? 'GET' })
    for (const header of textValues(values, 'header')) query.append('header', header)
    const sni = textValue(values, 'sni')
    if (sni !== undefined) query.set('sni', sni)
    const explained = await askJson<ExplainAnswer>(ask, `/explain?${query}`)
    if (explained.kind === 'failed') return asUsage(explained)
    const output = json ? jsonOutput(explained.value) : `${explained.value.steps.map(printable).join('\n')}\n`
    return { exitCode: EXIT_OK, output }
  },
}

/** A question that the agent cannot read, or about a pod that is not there, is wrong usage. */
function asUsage({ result, status }: JsonFailed): VerbResult {
  return status === 400 || status === 404 ? { ...result, exitCode: EXIT_USAGE } : result
}
