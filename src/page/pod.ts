/** One pod: who it is, whether its certificate is good, what applies to it, and the rules that the kernel has. */
import type { NamedObject, PodView } from '#contract'
import { type Child, h } from './element.ts'
import { ageText } from './format.ts'
import { hashOf } from './place.ts'
import { stateWord } from './pods.ts'
import { commandLine, renderTable } from './table.ts'

export function renderPod(pod: PodView, node: string, nowMs: number): readonly Child[] {
  const name = `${pod.namespace}/${pod.name}`
  const { identity, quarantine } = pod
  const facts: [string, string][] = [
    ['State', `${stateWord(pod)}${pod.detail === '' ? '' : `: ${pod.detail}`}`],
    ['Ready', pod.ready ? 'yes' : 'no'],
    [
      'Rules verified',
      pod.verifiedAt === 0 ? 'never' : `${ageText(nowMs - pod.verifiedAt)} ago, ${pod.repairs} repairs`,
    ],
    ['Node', pod.node === '' ? '-' : pod.node],
    ['Addresses', pod.addresses.join(', ') || '-'],
    [
      'Labels',
      Object.entries(pod.labels)
        .map(([label, value]) => `${label}=${value}`)
        .join(', ') || '-',
    ],
    ['Connections', `${pod.connections}; requests in flight: ${pod.requestsInFlight}`],
    ['Proxies', pod.proxies.join(', ') || '-'],
    ...(quarantine === undefined ? [] : [quarantineFact(quarantine)]),
    ['Identity', identity.spiffeId],
    ['Certificate', certificateText(pod, nowMs)],
    ['Services', pod.services.join(', ') || '-'],
  ]
  return [
    h('dl', { class: 'facts' }, ...facts.flatMap(([term, value]) => [h('dt', {}, term), h('dd', {}, value)])),
    h(
      'p',
      {},
      h('a', { href: hashOf(['logs'], node, { pod: name }) }, 'Its logs'),
      ' · ',
      h('a', { href: hashOf(['requests'], node, { end: name }) }, 'Its requests'),
    ),
    h('h2', {}, 'Policies that apply'),
    objects('Policies', pod.policies, 'No policy applies to it.'),
    h('h2', {}, 'Routes of its Services'),
    objects('Routes', pod.routes, 'No routes.'),
    h('h2', {}, 'Rules in the kernel'),
    ...(pod.rulesProblem === '' ? [] : [h('p', { class: 'dim' }, `None to be shown: ${pod.rulesProblem}`)]),
    ...pod.rules.map(({ family, text }) => {
      const title = `IPv${family}, ${text.split('\n').filter((line) => line.startsWith('-A ')).length} rules`
      const lines = h('pre', { class: 'wide', tabindex: '0', role: 'region', 'aria-label': title }, text)
      return h('details', { 'data-key': title }, h('summary', {}, title), lines)
    }),
    commandLine(`weir pods ${name}`),
  ]
}

function quarantineFact({ allow, inForce }: NonNullable<PodView['quarantine']>): [string, string] {
  return ['Quarantine', `${inForce ? 'in force' : 'NOT in force'}, but for ${allow.join(', ') || 'nobody'}`]
}

function certificateText({ identity: { state, serial, notAfterMs, lastError } }: PodView, nowMs: number): string {
  if (state === 'none') return 'none on this node'
  const left = notAfterMs - nowMs
  const end = left > 0 ? `ends in ${ageText(left)}` : `ended ${ageText(-left)} ago`
  const until = notAfterMs === 0 ? '' : `, serial ${serial}, ${end}`
  return `${state}${until}${lastError === '' ? '' : `: ${lastError}`}`
}

function objects(title: string, list: readonly NamedObject[], none: string): HTMLElement {
  if (list.length === 0) return h('p', { class: 'dim' }, none)
  const rows = list.map(({ kind, name, says }) => {
    const mood = says.startsWith('invalid') ? { mood: 'bad' as const } : {}
    return { key: `${kind} ${name}`, cells: [name, kind, says], ...mood }
  })
  return renderTable(
    title,
    ['Name', 'Kind', 'Says'].map((head) => ({ head })),
    rows,
  )
}
