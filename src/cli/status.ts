/** `weir status`: the agent, its proxies, its certificates, its problems. Exit 1 when one is an error or it is not ready. */
import type { IdentityAnswer, ProblemAnswer, StatusAnswer } from '#contract'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_WRONG } from './exit-code.ts'
import { printable, renderAge, renderBytes, renderEnd, renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const statusVerb: Verb = {
  name: 'status',
  summary: 'the agent, its proxies, its certificates and its problems',
  usage: '',
  options: {},
  optionHelp: [],
  async run({ ask, json, nowMs }) {
    const status = await askJson<StatusAnswer>(ask, '/status')
    if (status.kind === 'failed') return status.result
    const problems = await askJson<readonly ProblemAnswer[]>(ask, '/problems')
    if (problems.kind === 'failed') return problems.result
    const good = status.value.ready && !problems.value.some(({ severity }) => severity === 'error')
    const output = json
      ? jsonOutput({ ...status.value, problems: problems.value })
      : renderStatus(status.value, problems.value, nowMs)
    return { exitCode: good ? EXIT_OK : EXIT_WRONG, output }
  },
}

function renderStatus(status: StatusAnswer, problems: readonly ProblemAnswer[], nowMs: number): string {
  const up = renderAge(nowMs - status.startedAt)
  const taps = Math.max(0, ...status.proxies.map((proxy) => proxy.taps))
  const facts = [
    ['Agent', `${status.node}, version ${status.version}, pid ${status.pid}, up ${up}`],
    ['Source', `${status.source}, world version ${status.worldVersion}`],
    ['Ready', status.ready ? 'yes' : 'no'],
    ['Pods', `${status.enrolledPods} of ${status.optedInPods} opted in are enrolled`],
    ['Repairs', String(status.repairs)],
    ...status.quarantined.map(({ pod, allow, inForce }) => [
      'Quarantine',
      `${pod}, ${inForce ? 'in force' : 'NOT in force'}, allowed: ${allow.length === 0 ? 'nobody' : allow.join(', ')}`,
    ]),
    ...(taps === 0 ? [] : [['Taps', `${taps} open: live requests are being looked at (weir tap)`]]),
    ['Issuer', status.issuer],
  ]
  const [first = [], ...rest] = facts
  const identities = renderIdentities(status.identities, nowMs)
  return `${renderTable(first, rest)}\n${renderProxies(status)}\n${renderEjections(status)}${renderUnhealthy(status)}${identities}\n${renderProblems(problems)}`
}

function renderProxies(status: StatusAnswer): string {
  const head = ['PROXY', 'STATE', 'PID', 'WORLD', 'PODS', 'CONNECTIONS', 'IN FLIGHT', 'MEMORY', 'LAG', 'RESTARTS']
  const rows = status.proxies.map((proxy) => [
    String(proxy.id),
    proxy.state,
    String(proxy.pid),
    String(proxy.worldVersion),
    String(proxy.pods),
    String(proxy.connections),
    String(proxy.requestsInFlight),
    renderBytes(proxy.rssBytes),
    `${proxy.eventLoopLagMs.toFixed(1)} ms${proxy.shedding ? ', sheds load' : ''}`,
    String(proxy.restarts),
  ])
  return renderTable(head, rows)
}

function renderEjections({ ejections }: StatusAnswer): string {
  if (ejections.length === 0) return ''
  const rows = ejections.map(({ proxy, pod, service, endpoint, leftMs }) => {
    return [endpoint, service, pod, String(proxy), `${Math.ceil(leftMs / 1000)} s`]
  })
  return `${renderTable(['EJECTED', 'OF SERVICE', 'FOR POD', 'BY PROXY', 'FOR ANOTHER'], rows)}\n`
}

function renderUnhealthy({ unhealthy }: StatusAnswer): string {
  if (unhealthy.length === 0) return ''
  const rows = unhealthy.map(({ proxy, source, service, endpoint, why, forMs }) => {
    return [endpoint, service, source, String(proxy), renderAge(forMs), why]
  })
  return `${renderTable(['UNHEALTHY', 'OF SERVICE', 'FOR PODS OF', 'BY PROXY', 'SINCE', 'WHY'], rows)}\n`
}

function renderIdentities(identities: readonly IdentityAnswer[], nowMs: number): string {
  if (identities.length === 0) return 'No certificates\n'
  const rows = identities.map((identity) => {
    const { spiffeId, state, serial, notAfterMs, lastError } = identity
    const lasts = notAfterMs === 0 ? '-' : renderTime(notAfterMs, nowMs)
    const revoked = state === 'revoked' ? revokedWords(identity, nowMs) : ''
    return [spiffeId, state, serial === '' ? '-' : serial, lasts, [revoked, lastError].filter(Boolean).join('; ')]
  })
  const last = identities.some(({ state }) => state === 'revoked') ? 'NOTE' : 'LAST ERROR'
  return renderTable(['IDENTITY', 'STATE', 'SERIAL', 'ENDS', last], rows)
}

/** The next certificate is not on the list. */
function revokedWords({ nextTryMs }: IdentityAnswer, nowMs: number): string {
  const when = nextTryMs === undefined ? 'at half its life' : renderTime(nextTryMs, nowMs)
  return `refused by others until it is renewed ${when}; to renew it now, restart this agent`
}

function renderTime(ms: number, nowMs: number): string {
  return `${new Date(ms).toISOString()} (${renderEnd(ms - nowMs)})`
}

function renderProblems(problems: readonly ProblemAnswer[]): string {
  if (problems.length === 0) return 'No problems\n'
  const lines = problems.map(({ severity, subject, message, remedy }) =>
    printable(`  ${severity}: ${subject}: ${message}${remedy === '' ? '' : ` (${remedy})`}`),
  )
  return `Problems\n${lines.join('\n')}\n`
}
