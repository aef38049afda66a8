/** `weir policies`: the AuthorizationPolicies in force. Exit 1 when one is not valid (it denies what it selects). */
import type { PolicyAnswer } from './answers.ts'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_WRONG } from './exit-code.ts'
import { renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const policiesVerb: Verb = {
  name: 'policies',
  summary: 'the AuthorizationPolicies in force and what they select',
  usage: '',
  options: {},
  optionHelp: [],
  async run({ ask, json }) {
    const policies = await askJson<readonly PolicyAnswer[]>(ask, '/policies')
    if (policies.kind === 'failed') return policies.result
    const output = json ? jsonOutput(policies.value) : renderPolicies(policies.value)
    return { exitCode: policies.value.some(({ invalid }) => invalid !== '') ? EXIT_WRONG : EXIT_OK, output }
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

function selectsText(policy: PolicyAnswer): string {
  if (policy.services.length > 0) return policy.services.map((name) => `Service ${name}`).join(', ')
  const labels = Object.entries(policy.selector).map(([name, value]) => `${name}=${value}`)
  if (labels.length > 0) return labels.join(',')
  return policy.scope === 'mesh' ? 'the whole mesh' : `namespace ${policy.namespace}`
}
