/** The views and what each of them is made of. */

import type { Data, Need, View } from './data.ts'
import { type Child, h, morph } from './element.ts'
import { lookedText, renderAlerts, renderFindings } from './findings.ts'
import { renderGraph } from './graph.ts'
import { ALL_NODES } from './join-nodes.ts'
import { openLogs } from './logs.ts'
import { hashOf, type Place } from './place.ts'
import { renderPod } from './pod.ts'
import { renderPods } from './pods.ts'
import { openRequests } from './requests.ts'
import { renderPolicies, renderProblems, renderRoutes } from './rules.ts'
import { commandLine } from './table.ts'
import { renderEdges, renderServices } from './traffic-tables.ts'

/** By the first word of a place, in the order in which they are offered. */
const VIEWS: Readonly<Record<string, { readonly title: string; open(place: Place): View }>> = {
  now: {
    title: 'Now',
    open: ({ node }) => drawn('What goes on now', ['traffic', 'alerts'], (data) => now(data, node)),
  },
  edges: { title: 'Edges', open: openEdges },
  requests: { title: 'Requests', open: openRequests },
  logs: { title: 'Logs', open: openLogs },
  pods: { title: 'Pods', open: ({ node }) => drawn('Pods', ['pods'], (data) => pods(data, node)) },
  rules: {
    title: 'Routes and policies',
    open: () => drawn('Routes and policies', ['routes', 'policies', 'problems'], rules),
  },
}

/** What can be told of all nodes together. */
const OF_ALL: ReadonlySet<string> = new Set(['now', 'edges'])

export function openView(place: Place): View {
  const [word = '', namespace = '', name = ''] = place.words
  if (place.node === ALL_NODES && !OF_ALL.has(word)) {
    const title = Object.hasOwn(VIEWS, word) ? VIEWS[word]?.title : undefined
    return drawn(title ?? 'One node', [], () => [
      h('p', {}, 'Choose one node above to see this; all of them are in Now and Edges.'),
    ])
  }
  if (word === 'pod') return openPod(place.node, namespace, name)
  const known = Object.hasOwn(VIEWS, word) ? VIEWS[word] : undefined
  return known === undefined ? drawn('No such view', [], () => [h('p', {}, 'Choose one above.')]) : known.open(place)
}

export function viewLinks({ words: [word], node }: Place): HTMLElement {
  const links = Object.entries(VIEWS).map(([name, { title }]) => {
    const isHere = name === word || (name === 'pods' && word === 'pod')
    return h('li', {}, h('a', { href: hashOf([name], node), 'aria-current': isHere ? 'page' : undefined }, title))
  })
  return h('ul', {}, ...links)
}

/** A view that is drawn anew from what is known. */
function drawn(title: string, needs: readonly Need[], draw: (data: Data) => readonly Child[]): View {
  const element = h('div', {}, h('p', { class: 'dim' }, 'Asking …'))
  return { title, needs, element, update: (data) => morph(element, h('div', {}, ...draw(data))) }
}

function now({ diagnose, alerts, traffic, refusals, nowMs }: Data, node: string): readonly Child[] {
  return [
    h('h2', { id: 'wrong' }, 'What is wrong now'),
    ...waiting('diagnose', diagnose, refusals),
    ...(diagnose === undefined
      ? []
      : [
          renderFindings(diagnose.findings, nowMs),
          h('p', { class: 'dim' }, lookedText(diagnose)),
          commandLine('weir diagnose'),
        ]),
    ...renderAlerts(alerts?.alerts ?? [], nowMs),
    h('h2', {}, 'Who calls whom'),
    ...waiting('traffic', traffic, refusals),
    ...(traffic === undefined
      ? []
      : [renderGraph(traffic.edges, node), h('h2', {}, 'Services'), renderServices(traffic), commandLine('weir top')]),
  ]
}

function openEdges({ node, parameters }: Place): View {
  const of = parameters.get('of') ?? ''
  return drawn(of === '' ? 'Edges' : `Edges of ${of}`, ['traffic'], ({ traffic, refusals }) => [
    ...(of === '' ? [] : [h('p', {}, h('a', { href: hashOf(['edges'], node) }, 'All edges'))]),
    ...waiting('traffic', traffic, refusals),
    ...(traffic === undefined ? [] : [renderEdges(traffic, of), commandLine('weir edges; weir top')]),
  ])
}

function openPod(node: string, namespace: string, name: string): View {
  const view = drawn(`Pod ${namespace}/${name}`, ['pod'], ({ pod, refusals, nowMs }) => [
    h('p', {}, h('a', { href: hashOf(['pods'], node) }, 'All pods')),
    ...(pod?.namespace === namespace && pod.name === name && !refusals.has('pod')
      ? renderPod(pod, node, nowMs)
      : waiting('pod', undefined, refusals)),
  ])
  return { ...view, podPath: `/pods/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}` }
}

function pods({ pods: known, status, refusals }: Data, node: string): readonly Child[] {
  return known === undefined || status === undefined
    ? waiting('pods', undefined, refusals)
    : [renderPods(known, status.node, node), commandLine('weir pods')]
}

function rules({ routes, policies, problems, refusals }: Data): readonly Child[] {
  return [
    h('h2', {}, 'Problems'),
    ...(problems === undefined ? waiting('problems', problems, refusals) : [renderProblems(problems)]),
    h('h2', {}, 'Routes'),
    ...(routes === undefined ? waiting('routes', routes, refusals) : [renderRoutes(routes)]),
    h('h2', {}, 'Policies'),
    ...(policies === undefined ? waiting('policies', policies, refusals) : [renderPolicies(policies)]),
    commandLine('weir check; weir routes; weir policies'),
  ]
}

function waiting(need: Need, value: unknown, refusals: Data['refusals']): HTMLElement[] {
  const refusal = refusals.get(need)
  if (refusal !== undefined) return [h('p', { class: 'dim' }, refusal)]
  return value === undefined ? [h('p', { class: 'dim' }, 'Asking …')] : []
}
