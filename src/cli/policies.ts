/** `weir policies`: the policies in force. Exit 1 when one is not valid (it denies what it selects, or does not apply). */
import type { PeerAuthenticationAnswer, PolicyAnswer, TrafficPolicyAnswer } from '#contract'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_WRONG } from './exit-code.ts'
import { renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const policiesVerb: Verb = {
  name: 'policies',
  summary: 'the policies in force (AuthorizationPolicy, PeerAuthentication, TrafficPolicy) and what they select',
  usage: '',
  options: {},
  optionHelp: [],
  async run({ ask, json }) {
    const answer = await askJson<readonly (PolicyAnswer | PeerAuthenticationAnswer | TrafficPolicyAnswer)[]>(
      ask,
      '/policies',
    )
    if (answer.kind === 'failed') return answer.result
    const policies = answer.value.filter((one) => one.kind === 'AuthorizationPolicy')
    const peers = answer.value.filter((one) => one.kind === 'PeerAuthentication')
    const traffic = answer.value.filter((one) => one.kind === 'TrafficPolicy')
    const text = `${renderPolicies(policies)}\n${renderPeers(peers)}\n${renderTraffic(traffic)}`
    const output = json ? jsonOutput(answer.value) : text
    return { exitCode: [...policies, ...traffic].some(({ invalid }) => invalid !== '') ? EXIT_WRONG : EXIT_OK, output }
  },
}

function renderPolicies(policies: readonly PolicyAnswer[]): string {
  if (policies.length === 0) return 'No AuthorizationPolicies: everything is allowed\n'
  const rows = policies.map((policy) => [
    `${policy.namespace}/${policy.name}`,
    policy.invalid === '' ? policy.action : 'DENY ALL',
    selectsText(policy),
    String(policy.rules),
    policy.invalid,
  ])
  return renderTable(['POLICY', 'ACTION', 'SELECTS', 'RULES', 'INVALID'], rows)
}

function renderPeers(peers: readonly PeerAuthenticationAnswer[]): string {
  if (peers.length === 0) return 'No PeerAuthentications: mutual TLS and plain text are both taken\n'
  const rows = peers.map((peer) => [
    `${peer.namespace}/${peer.name}`,
    peer.mode,
    selectsText({ ...peer, services: [] }),
    Object.entries(peer.ports)
      .map(([port, mode]) => `${port}=${mode}`)
      .join(',') || '-',
    podsText(peer.pods),
  ])
  return renderTable(['PEERAUTHENTICATION', 'MODE', 'SELECTS', 'PORTS', 'DECIDES FOR'], rows)
}

function renderTraffic(policies: readonly TrafficPolicyAnswer[]): string {
  if (policies.length === 0) return 'No TrafficPolicies: requests are balanced by latency and load\n'
  const rows = policies.map(({ namespace, name, services, applies, says, invalid }) => [
    `${namespace}/${name}`,
    services.map((service) => `Service ${service}${applies.includes(service) ? '' : ' (not applied)'}`).join(', '),
    says.join(',') || '-',
    invalid,
  ])
  return renderTable(['TRAFFICPOLICY', 'TARGETS', 'SAYS', 'INVALID'], rows)
}

function podsText(pods: readonly string[]): string {
  if (pods.length === 0) return 'no pod'
  const more = pods.length - MAX_PODS_SHOWN
  return `${pods.slice(0, MAX_PODS_SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

const MAX_PODS_SHOWN = 5

function selectsText(policy: Pick<PolicyAnswer, 'namespace' | 'scope' | 'selector' | 'services'>): string {
  if (policy.services.length > 0) return policy.services.map((name) => `Service ${name}`).join(', ')
  const labels = Object.entries(policy.selector).map(([name, value]) => `${name}=${value}`)
  if (labels.length > 0) return labels.join(',')
  return policy.scope === 'mesh' ? 'the whole mesh' : `namespace ${policy.namespace}`
}
