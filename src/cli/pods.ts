/** `weir pods`: the pods of this node and how they are intercepted. Exit 1 when one failed. */
import type { PodAnswer } from './answers.ts'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_WRONG } from './exit-code.ts'
import { renderAge, renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const podsVerb: Verb = {
  name: 'pods',
  summary: 'the pods of this node, and which are intercepted',
  usage: '',
  options: {},
  optionHelp: [],
  async run({ ask, json, nowMs }) {
    const pods = await askJson<readonly PodAnswer[]>(ask, '/pods')
    if (pods.kind === 'failed') return pods.result
    const output = json ? jsonOutput(pods.value) : renderPods(pods.value, nowMs)
    return { exitCode: pods.value.some(({ state }) => state === 'failed') ? EXIT_WRONG : EXIT_OK, output }
  },
}

function renderPods(pods: readonly PodAnswer[], nowMs: number): string {
  const head = ['POD', 'STATE', 'IDENTITY', 'ADDRESSES', 'PROXIES', 'CONNECTIONS', 'VERIFIED', 'REPAIRS', 'DETAIL']
  const rows = pods.map((pod) => [
    `${pod.namespace}/${pod.name}`,
    pod.state,
    `${pod.namespace}/${pod.serviceAccount}`,
    pod.addresses.length === 0 ? '-' : pod.addresses.join(','),
    pod.proxies.length === 0 ? '-' : pod.proxies.join(','),
    String(pod.connections),
    pod.verifiedAt === 0 ? '-' : `${renderAge(nowMs - pod.verifiedAt)} ago`,
    String(pod.repairs),
    pod.detail,
  ])
  return pods.length === 0 ? 'No pods on this node\n' : renderTable(head, rows)
}
