/** The pods of the node, and which are in the mesh. */
import type { PodAnswer } from '#contract'
import { h } from './element.ts'
import { hashOf } from './place.ts'
import { renderTable } from './table.ts'

export function renderPods(pods: readonly PodAnswer[], here: string, node: string): HTMLElement {
  const rows = pods
    .filter((pod) => pod.node === here)
    .map((pod) => {
      const name = `${pod.namespace}/${pod.name}`
      const cells = [
        h('a', { href: hashOf(['pod', pod.namespace, pod.name], node) }, name),
        stateWord(pod),
        `${pod.namespace}/${pod.serviceAccount}`,
        pod.addresses.join(', ') || '-',
        String(pod.connections),
        String(pod.requestsInFlight),
        pod.detail,
      ]
      const mood = pod.state === 'failed' ? ('bad' as const) : pod.state === 'outside' ? ('dim' as const) : undefined
      return { key: name, cells, ...(mood === undefined ? {} : { mood }) }
    })
  const heads = ['Pod', 'State', 'Identity', 'Addresses', 'Conns', 'In flight', 'Detail']
  const columns = heads.map((head) => ({ head, isNumber: head === 'Conns' || head === 'In flight' }))
  return renderTable(`Pods of ${here}`, columns, rows)
}

export function stateWord({ state, optedIn }: Pick<PodAnswer, 'state' | 'optedIn'>): string {
  if (state !== 'outside') return state
  return optedIn ? 'ended' : 'not in mesh'
}
