/** `weir routes`: the routes in force, of all kinds. Exit 1 when one is not valid. */
import type { RouteAnswer, RouteMatchAnswer } from '#contract'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_WRONG } from './exit-code.ts'
import { renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const routesVerb: Verb = {
  name: 'routes',
  summary: 'the routes in force: matches and backends',
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
  const isStream = route.kind === 'TLSRoute' || route.kind === 'TCPRoute'
  const name = `${route.namespace}/${route.name}`
  const parents = route.parents.join(', ')
  const streams = route.hostnames.length === 0 ? 'any connection' : route.hostnames.join(' or ')
  if (route.invalid !== '') {
    const fate = isStream ? 'all connections are reset' : 'all requests get 500'
    return [[route.kind, name, parents, '-', `invalid: ${route.invalid}`, fate]]
  }
  return route.rules.map((rule, index) => [
    index === 0 ? route.kind : '',
    index === 0 ? name : '',
    index === 0 ? parents : '',
    rule.name ?? String(index),
    isStream ? streams : rule.matches.map(matchText).join(' or '),
    backendsText(rule.backends, isStream ? 'reset' : '500'),
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

function backendsText(backends: RouteAnswer['rules'][number]['backends'], fate: string): string {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0)
  const texts = backends.map(({ weight, service, invalid }) => {
    const percent = total === 0 ? 0 : Math.round((weight * 1000) / total) / 10
    const problem = invalid === undefined ? '' : ` (${fate}: ${invalid})`
    return `${percent}% ${service.namespace}/${service.name}:${service.port}${problem}`
  })
  return texts.length === 0 ? '-' : texts.join(', ')
}
