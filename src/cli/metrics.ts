/** `weir metrics`: what Prometheus would scrape, of the agent and all its proxies. */
import { askJson, failed, jsonOutput } from './ask-json.ts'
import { EXIT_OK } from './exit-code.ts'
import type { Verb } from './verb.ts'

export const metricsVerb: Verb = {
  name: 'metrics',
  summary: 'the metrics of the agent and its proxies, as Prometheus reads them',
  usage: '',
  options: {},
  optionHelp: [],
  examples: ['metrics | grep istio_requests_total', 'metrics --json'],
  async run({ ask, json }) {
    if (json) {
      const families = await askJson<unknown>(ask, '/metrics?format=json')
      if (families.kind === 'failed') return families.result
      return { exitCode: EXIT_OK, output: jsonOutput(families.value) }
    }
    const asked = await ask('/metrics')
    if (asked.kind === 'unreachable' || asked.status !== 200) return failed('/metrics', asked)
    return { exitCode: EXIT_OK, output: asked.text }
  },
}
