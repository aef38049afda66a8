/** Which node is looked at: there is nothing to choose where the agent knows of no other. */

import type { NodesAnswer } from '#contract'
import { h } from './element.ts'
import { ALL_NODES } from './join-nodes.ts'

export function nodeChooser({ nodes }: NodesAnswer, chosen: string, choose: (node: string) => void): HTMLElement[] {
  if (nodes.length < 2) return []
  const options = nodes.map(({ name, own }) => {
    const value = own ? '' : name
    return h('option', { value, selected: value === chosen ? '' : undefined }, own ? `${name} (this one)` : name)
  })
  const all = h('option', { value: ALL_NODES, selected: chosen === ALL_NODES ? '' : undefined }, 'all nodes')
  const select = h('select', {}, ...options, all)
  select.addEventListener('change', () => choose(select.value))
  return [h('label', {}, h('span', {}, 'Node'), select)]
}
