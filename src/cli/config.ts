/** `weir config`: the configuration in force, defaults included. */
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK } from './exit-code.ts'
import { renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const configVerb: Verb = {
  name: 'config',
  summary: 'the configuration in force',
  usage: '',
  options: {},
  optionHelp: [],
  async run({ ask, json }) {
    const config = await askJson<Readonly<Record<string, unknown>>>(ask, '/config')
    if (config.kind === 'failed') return config.result
    const rows = Object.entries(config.value).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : JSON.stringify(value),
    ])
    return { exitCode: EXIT_OK, output: json ? jsonOutput(config.value) : renderTable(['SETTING', 'VALUE'], rows) }
  },
}
