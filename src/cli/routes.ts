/** `weir routes`: the HTTPRoutes and GRPCRoutes in force. Exit 1 when one is not valid. */
import type { RouteAnswer, RouteMatchAnswer } from './answers.ts'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_WRONG } from './exit-code.ts'
import { renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const routesVerb: Verb = {
  name: 'routes',
  summary: 'the HTTPRoutes and GRPCRoutes in force: matches and backends',
  usage: '',
  options: {},
  optionHelp: [],
  async run({ ask, json }) {
    const routes = await askJson<readonly RouteAnswer[]>(ask, '/routes')
    if (routes.kind === 'failed') return routes.result
    const output = json ? jsonOutput(routes.value) : renderRoutes(routes.value)
    return { exitCode: routes.value.some(({ invalid }) => invalid !== '') ? EXIT_WRONG : EXIT_OK, output }
  },
}

function renderRoutes(routes: readonly RouteAnswer[]): string {
  if (routes.length === 0) return 'No routes\n'
  return renderTable(['KIND', 'ROUTE', 'PARENT', 'RULE', 'MATCHES', 'BACKENDS'], routes.flatMap(routeRows))
}

function routeRows(route: RouteAnswer): string[][] {
  const name = `${route.namespace}/${route.name}`
  const parents = route.parents.join(', ')
  if (route.invalid !== '')
    return [[route.kind, name, parents, '-', `invalid: ${route.invalid}`, 'all requests get 500']]
  return route.rules.map((rule, index) => [
    index === 0 ? route.kind : '',
    index === 0 ? name : '',
    index === 0 ? parents : '',
    rule.name ?? String(index),
    rule.matches.map(matchText).join(' or '),
    backendsText(rule.backends),
  ])
}

function matchText(match: RouteMatchAnswer): string {
  const path = match.path.type === 'PathPrefix' ? `${match.path.value}*` : match.path.value
  const parts = [match.path.type === 'RegularExpression' ? `~${path}` : path]
  if (match.method !== undefined) parts.unshift(match.method)
  for (const header of match.headers) parts.push(`${header.name}:${header.match.value}`)
  for (const parameter of match.query) parts.push(`?${parameter.name}=${parameter.match.value}`)
  return parts.join(' ')
}

function backendsText(backends: RouteAnswer['rules'][number]['backends']): string {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0)
  const texts = backends.map(({ weight, service, invalid }) => {
    const percent = total === 0 ? 0 : Math.round((weight * 1000) / total) / 10
    const problem = invalid === undefined ? '' : ` (500: ${invalid})`
    return `${percent}% ${service.namespace}/${service.name}:${service.port}${problem}`
  })
  return texts.length === 0 ? '-' : texts.join(', ')
}
