/** The graph of who calls whom now: rates, errors in words, a lock where both ends have proven who they are. */
import type { EdgeRates } from '#observer'
import { h, svg } from './element.ts'
import { percentileText, shareText } from './format.ts'
import { type LaidEdge, layOut } from './graph-layout.ts'
import { hashOf } from './place.ts'
import { destinationOf, isBusy, toldOnce } from './traffic-window.ts'

/** Above it a picture is no help. */
const MAX_NODES = 60
const NODE = { width: 168, height: 46 }
const CELL = { width: 338, height: 84 }
const MARGIN = 12
/** Of a label's text. */
const LINE = 13
/** Below it an edge is drawn as failing. */
const GOOD_SHARE = 0.99
const LOCK = 'M-4 -1 h8 v6 h-8 z M-2.5 -1 v-2.5 a2.5 2.5 0 0 1 5 0 v2.5'

/** What is drawn of all edges between the same two. */
interface Link {
  readonly from: string
  readonly to: string
  readonly secured: boolean
  readonly requestsPerSecond: number
  readonly connections: number
  readonly failedShare: number
  readonly p95: string
}

export function renderGraph(edges: readonly EdgeRates[], node: string): HTMLElement {
  const links = linksOf(toldOnce(edges).filter(isBusy))
  if (links.length === 0) return h('p', { class: 'fine' }, 'Nothing is said between services right now.')
  const layout = layOut(links)
  if (layout.nodes.length > MAX_NODES) {
    return h(
      'p',
      {},
      `${layout.nodes.length} services talk to each other: too many for a picture. The tables have them.`,
    )
  }
  const byEnds = new Map(links.map((link) => [`${link.from}\n${link.to}`, link]))
  const linkOf = ({ from, to }: { readonly from: string; readonly to: string }) => byEnds.get(`${from}\n${to}`)
  const width = MARGIN * 2 + (layout.layers - 1) * CELL.width + NODE.width
  const height = MARGIN * 2 + layout.rows * CELL.height
  const loops = links.filter(({ from, to }) => from === to)
  const picture = svg(
    'svg',
    {
      width: String(width),
      height: String(height),
      viewBox: `0 0 ${width} ${height}`,
      role: 'group',
      'aria-label': 'Who calls whom',
    },
    svg('defs', {}, arrow('arrow'), arrow('arrow-bad')),
    ...layout.edges.flatMap((edge) => {
      const link = linkOf(edge)
      return link === undefined ? [] : [drawEdge(edge, link)]
    }),
    ...layout.nodes.map(({ name, ...cell }) => {
      const inward = [...links].filter(({ to }) => to === name)
      const outward = [...links].filter(({ from }) => from === name)
      return drawNode(name, centreOf(cell), {
        inward,
        outward,
        calledBySelf: loops.some(({ to }) => to === name),
        node,
      })
    }),
  )
  return h('div', { class: 'wide graph', role: 'region', 'aria-label': 'Graph of services', tabindex: '0' }, picture)
}

function linksOf(edges: readonly EdgeRates[]): Link[] {
  const groups = new Map<string, EdgeRates[]>()
  for (const edge of edges) {
    const key = `${edge.source}\n${destinationOf(edge)}`
    groups.set(key, [...(groups.get(key) ?? []), edge])
  }
  return [...groups].map(([key, members]) => {
    const [from = '', to = ''] = key.split('\n')
    const sum = (value: (edge: EdgeRates) => number) => members.reduce((total, edge) => total + value(edge), 0)
    const requests = sum((edge) => edge.requests)
    const failed = sum(({ requests: count, successRate = 1 }) => count * (1 - successRate))
    const slowest = members.toSorted((a, b) => (b.p95?.estimateMs ?? 0) - (a.p95?.estimateMs ?? 0))[0]
    return {
      from,
      to,
      secured: members.every(({ secured }) => secured),
      requestsPerSecond: sum((edge) => edge.requestsPerSecond),
      connections: sum((edge) => edge.connections),
      failedShare: requests === 0 ? 0 : failed / requests,
      p95: percentileText(slowest?.p95),
    }
  })
}

function centreOf({ layer, row }: { readonly layer: number; readonly row: number }) {
  return { x: MARGIN + NODE.width / 2 + layer * CELL.width, y: MARGIN + CELL.height / 2 + row * CELL.height }
}

function isBad({ failedShare }: Link): boolean {
  return 1 - failedShare < GOOD_SHARE
}

/** `12.3/s · p95 ~13 ms` or of connections, and below it `4.00 % errors`. */
function wordsOf(link: Link): readonly string[] {
  const rate =
    link.requestsPerSecond > 0
      ? `${link.requestsPerSecond.toFixed(1)}/s`
      : `${link.connections} ${link.connections === 1 ? 'connection' : 'connections'}`
  return [
    link.p95 === '-' ? rate : `${rate} · p95 ${link.p95}`,
    ...(link.failedShare > 0 ? [`${shareText(link.failedShare)} errors`] : []),
  ]
}

function drawEdge({ from, to, way }: LaidEdge, link: Link): SVGElement {
  const bad = isBad(link)
  const points = way.map(centreOf)
  const label = labelPlace(points)
  const words = wordsOf(link)
  const secured = link.secured ? 'mTLS' : 'not mTLS'
  // The width of a text is not known before it is drawn; digits and letters of this size are about so wide.
  const half = Math.max(...words.map(({ length }) => length)) * (bad ? 3.4 : 2.95) + 14
  const height = LINE * words.length + 6
  const mark = `translate(${label.x - half + 12} ${label.y})`
  return svg(
    'g',
    {
      class: bad ? 'edge bad' : 'edge',
      'data-key': `${from} ${to}`,
      role: 'img',
      'aria-label': `${from} to ${to}: ${[...words, secured].join(', ')}`,
    },
    svg('path', { d: curve(points), 'marker-end': bad ? 'url(#arrow-bad)' : 'url(#arrow)' }),
    svg('rect', {
      class: 'plate',
      x: String(label.x - half),
      y: String(label.y - height / 2),
      width: String(half * 2),
      height: String(height),
      rx: '9',
    }),
    link.secured
      ? svg('path', { class: 'lock', d: LOCK, transform: mark })
      : svg('path', { class: 'open', d: 'M-4 -4 l8 8 m0 -8 l-8 8', transform: mark }),
    ...words.map((text, at) => {
      const y = label.y + 4 + (at - (words.length - 1) / 2) * LINE
      return svg('text', { x: String(label.x + 8), y: String(y), 'text-anchor': 'middle' }, text)
    }),
  )
}

interface Point {
  readonly x: number
  readonly y: number
}

/** From side to side; where it goes back to an earlier layer, it leaves and arrives the same way round. */
function curve(points: readonly Point[]): string {
  const [first, ...rest] = points
  const last = points.at(-1)
  if (first === undefined || last === undefined) return ''
  const forward = last.x >= first.x ? 1 : -1
  let at = { x: first.x + (forward * NODE.width) / 2, y: first.y }
  let text = `M${at.x} ${at.y}`
  for (const [index, point] of rest.entries()) {
    const isLast = index === rest.length - 1
    const to = isLast ? { x: point.x - forward * (NODE.width / 2 + 7), y: point.y } : point
    const bend = (forward * Math.abs(to.x - at.x)) / 2
    text += ` C${at.x + bend} ${at.y} ${to.x - bend} ${to.y} ${to.x} ${to.y}`
    at = to
  }
  return text
}

/** In the middle of the first gap between layers. */
function labelPlace(points: readonly Point[]): Point {
  const [first = { x: 0, y: 0 }, second = first] = points
  return { x: (first.x + second.x) / 2, y: (first.y + second.y) / 2 }
}

interface NodeFacts {
  readonly inward: readonly Link[]
  readonly outward: readonly Link[]
  readonly calledBySelf: boolean
  readonly node: string
}

function drawNode(name: string, { x, y }: Point, { inward, outward, calledBySelf, node }: NodeFacts): SVGElement {
  const asked = inward.reduce((sum, { requestsPerSecond }) => sum + requestsPerSecond, 0)
  const failed = inward.reduce((sum, link) => sum + link.requestsPerSecond * link.failedShare, 0)
  const share = asked === 0 ? 0 : failed / asked
  const bad = 1 - share < GOOD_SHARE
  const [namespace = '', short = ''] = name.includes('/') ? name.split('/', 2) : ['', name]
  const below = [
    namespace === '' ? 'outside the mesh' : namespace,
    ...(bad ? [`${shareText(share)} errors`] : []),
    ...(calledBySelf ? ['calls itself'] : []),
  ]
  const [title, small] = [shortened(short, 22), shortened(below.join(' · '), 28)]
  const errors = share > 0 ? `, ${shareText(share)} errors` : ''
  const facts = `${name}: asked ${asked.toFixed(1)} times a second${errors}, by ${inward.length}; asks ${outward.length}`
  return svg(
    'a',
    {
      href: hashOf(['edges'], node, { of: name }),
      class: bad ? 'node bad' : 'node',
      'data-key': name,
    },
    svg('rect', {
      x: String(x - NODE.width / 2),
      y: String(y - NODE.height / 2),
      width: String(NODE.width),
      height: String(NODE.height),
      rx: '8',
    }),
    svg('text', { x: String(x), y: String(y - 3), 'text-anchor': 'middle', class: 'name' }, title),
    svg('text', { x: String(x), y: String(y + 14), 'text-anchor': 'middle', class: 'small' }, small),
    // Its name, too. It begins with what is to be seen: by that who speaks to the browser chooses it.
    svg('title', {}, `${title} ${small}. ${facts}`),
  )
}

function shortened(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`
}

function arrow(id: string): SVGElement {
  return svg(
    'marker',
    {
      id,
      viewBox: '0 0 8 8',
      refX: '6',
      refY: '4',
      markerUnits: 'userSpaceOnUse',
      markerWidth: '11',
      markerHeight: '11',
      orient: 'auto',
    },
    svg('path', { d: 'M0 0 L8 4 L0 8 z', class: id }),
  )
}
