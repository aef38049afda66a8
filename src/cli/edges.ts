/** `weir edges`: who has talked to whom since the proxies were started, under which identity, and whether secured. */
import { type EdgeRates, trafficBetween } from '#observer'
import { jsonOutput } from './ask-json.ts'
import { EXIT_OK } from './exit-code.ts'
import { renderTable } from './table.ts'
import { edgeName, sorted } from './traffic-table.ts'
import { askTraffic } from './traffic-window.ts'
import type { Verb } from './verb.ts'

export const edgesVerb: Verb = {
  name: 'edges',
  summary: 'who talks to whom, under which identity, and whether secured',
  usage: '',
  options: {},
  optionHelp: [],
  exitHelp: '0 told, also when nobody has talked',
  async run({ ask, json }) {
    const asked = await askTraffic(ask)
    if (asked.kind === 'failed') return asked.result
    const { node, edges } = trafficBetween(undefined, asked.value)
    const shown = sorted(edges, 'name', edgeName)
    if (json) return { exitCode: EXIT_OK, output: jsonOutput({ node, edges: shown.map(toJson) }) }
    const head = `Node ${node}, since its proxies were started. What its own pods sent and were sent.\n`
    if (shown.length === 0) return { exitCode: EXIT_OK, output: `${head}\nNobody has talked yet.\n` }
    const table = renderTable(
      ['FROM', 'TO', 'SERVICE', 'MTLS', 'REQUESTS', 'CONNS', 'FROM IDENTITY', 'TO IDENTITY'],
      [...shown.map(cells)],
    )
    return { exitCode: EXIT_OK, output: `${head}\n${table}` }
  },
}

function cells(edge: EdgeRates): string[] {
  const { source, destination, service, secured, requests, connectionsOpened } = edge
  const word = (text: string) => (text === '' ? '-' : text)
  return [
    source,
    destination,
    word(service),
    secured ? 'yes' : 'no',
    String(requests),
    String(connectionsOpened),
    word(edge.sourceIdentity),
    word(edge.destinationIdentity),
  ]
}

function toJson(edge: EdgeRates) {
  const { source, destination, service, sourceIdentity, destinationIdentity, secured, reporter, requests } = edge
  const { connections, connectionsOpened } = edge
  return {
    source,
    destination,
    service,
    sourceIdentity,
    destinationIdentity,
    secured,
    reporter,
    requests,
    connections,
    connectionsOpened,
  }
}
