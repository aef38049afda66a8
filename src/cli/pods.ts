/** `weir pods`: the pods of this node and how they are intercepted. Exit 1 when one failed. */
import type { PodAnswer, StatusAnswer } from '#contract'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK, EXIT_WRONG } from './exit-code.ts'
import { showPod } from './pod-view.ts'
import { renderAge, renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const podsVerb: Verb = {
  name: 'pods',
  summary: 'the pods of this node (--all: of all nodes), and which are intercepted; all about one',
  usage: '[NAMESPACE/NAME] [--all]',
  maxWords: 1,
  options: { all: { type: 'boolean' } },
  optionHelp: [
    '--all                  also the pods of other nodes (elsewhere: in the mesh there), and those of no node',
  ],
  examples: ['pods --all', 'pods shop/web-1'],
  async run(call) {
    const { ask, json, nowMs, values, words } = call
    const [name] = words
    if (name !== undefined) return await showPod(name, call)
    const pods = await askJson<readonly PodAnswer[]>(ask, '/pods')
    if (pods.kind === 'failed') return pods.result
    const status = await askJson<StatusAnswer>(ask, '/status')
    if (status.kind === 'failed') return status.result
    const { node } = status.value
    const shown = values['all'] === true ? pods.value : pods.value.filter((pod) => pod.node === node)
    const output = json ? jsonOutput(shown) : renderPods(shown, { node, known: pods.value.length, nowMs })
    return { exitCode: shown.some(({ state }) => state === 'failed') ? EXIT_WRONG : EXIT_OK, output }
  },
}

interface Place {
  readonly node: string
  /** Pods of all nodes. */
  readonly known: number
  readonly nowMs: number
}

function renderPods(pods: readonly PodAnswer[], { node, known, nowMs }: Place): string {
  if (pods.length === 0) return `No pods on ${node}${known > 0 ? `; ${known} elsewhere: weir pods --all` : ''}\n`
  // Only where it tells them apart.
  const withNodes = pods.some((pod) => pod.node !== node)
  const numbers = ['PROXIES', 'CONNECTIONS', 'VERIFIED', 'REPAIRS', 'DETAIL']
  const head = ['POD', ...(withNodes ? ['NODE'] : []), 'STATE', 'IDENTITY', 'ADDRESSES', ...numbers]
  const rows = pods.map((pod) => [
    `${pod.namespace}/${pod.name}`,
    ...(withNodes ? [pod.node === '' ? '-' : pod.node] : []),
    stateWord(pod, node),
    `${pod.namespace}/${pod.serviceAccount}`,
    pod.addresses.length === 0 ? '-' : pod.addresses.join(','),
    pod.proxies.length === 0 ? '-' : pod.proxies.join(','),
    String(pod.connections),
    pod.verifiedAt === 0 ? '-' : `${renderAge(nowMs - pod.verifiedAt)} ago`,
    String(pod.repairs),
    pod.detail,
  ])
  return renderTable(head, rows)
}

/** In JSON `outside` has `optedIn` and `node` beside it. */
function stateWord({ state, optedIn, node }: PodAnswer, here: string): string {
  if (state !== 'outside') return state
  if (!optedIn) return 'not in mesh'
  if (node === '') return 'unscheduled'
  return node === here ? 'ended' : 'elsewhere'
}
