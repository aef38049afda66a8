/**
 * Where the nodes of a graph of calls are drawn: in layers from callers to called, few crossings, the same picture for the
 * same graph whatever order it is told in. Pure.
 */

export interface LaidNode {
  readonly name: string
  /** Of its centre, in cells: from callers to called, and across. */
  readonly layer: number
  readonly row: number
}

export interface LaidEdge {
  readonly from: string
  readonly to: string
  /** Cells that it passes, both ends included; more than two where it goes past other layers. */
  readonly way: readonly { readonly layer: number; readonly row: number }[]
}

export interface Layout {
  readonly nodes: readonly LaidNode[]
  readonly edges: readonly LaidEdge[]
  readonly layers: number
  readonly rows: number
}

interface Pair {
  readonly from: string
  readonly to: string
}

const SWEEPS = 8

/** Edges of a node to itself are not laid; more than one between the same two are one. */
export function layOut(pairs: readonly Pair[]): Layout {
  const edges = distinct(pairs)
  const names = [...new Set(edges.flatMap(({ from, to }) => [from, to]))].sort()
  const forward = withoutCycles(names, edges)
  const layerOf = layersOf(names, forward)
  const lanes = layOutLanes(names, edges, layerOf)
  const rowOf = orderRows(lanes)
  const cell = (id: string) => ({ layer: lanes.layerOf.get(id) ?? 0, row: rowOf.get(id) ?? 0 })
  return {
    nodes: names.map((name) => ({ name, ...cell(name) })),
    edges: lanes.chains.map(({ from, to, ids }) => ({ from, to, way: ids.map(cell) })),
    layers: Math.max(0, ...layerOf.values()) + (names.length === 0 ? 0 : 1),
    rows: Math.max(0, ...[...rowOf.values()].map((row) => Math.floor(row) + 1)),
  }
}

function distinct(pairs: readonly Pair[]): Pair[] {
  const found = new Map<string, Pair>()
  for (const { from, to } of pairs) if (from !== to) found.set(`${from}\n${to}`, { from, to })
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, pair]) => pair)
}

/** Edges that lead back to where a walk came from are turned round. */
function withoutCycles(names: readonly string[], edges: readonly Pair[]): Pair[] {
  const state = new Map<string, 'open' | 'done'>()
  const turned = new Set<Pair>()
  const called = new Set(edges.map(({ to }) => to))
  const visit = (name: string): void => {
    state.set(name, 'open')
    for (const edge of edges) {
      if (edge.from !== name) continue
      const known = state.get(edge.to)
      if (known === 'open') turned.add(edge)
      else if (known === undefined) visit(edge.to)
    }
    state.set(name, 'done')
  }
  // Those that nobody calls come first: from there a cycle is entered where its callers enter it.
  for (const name of [...names.filter((one) => !called.has(one)), ...names]) if (!state.has(name)) visit(name)
  return edges.map((edge) => (turned.has(edge) ? { from: edge.to, to: edge.from } : edge))
}

/** Each one layer after the last of its callers. */
function layersOf(names: readonly string[], edges: readonly Pair[]): Map<string, number> {
  const layers = new Map(names.map((name) => [name, 0]))
  for (let round = 0, changed = true; changed && round <= names.length; round++) {
    changed = false
    for (const { from, to } of edges) {
      const least = (layers.get(from) ?? 0) + 1
      if ((layers.get(to) ?? 0) >= least) continue
      layers.set(to, least)
      changed = true
    }
  }
  return layers
}

interface Lanes {
  readonly layerOf: ReadonlyMap<string, number>
  readonly layers: readonly (readonly string[])[]
  readonly neighbours: ReadonlyMap<string, readonly string[]>
  readonly chains: readonly { readonly from: string; readonly to: string; readonly ids: readonly string[] }[]
}

/** An edge that passes layers has a place of its own in each of them. */
function layOutLanes(names: readonly string[], edges: readonly Pair[], layers: ReadonlyMap<string, number>): Lanes {
  const layerOf = new Map(layers)
  const neighbours = new Map<string, string[]>(names.map((name) => [name, []]))
  const chains = edges.map(({ from, to }) => {
    const [first, last] = [layers.get(from) ?? 0, layers.get(to) ?? 0]
    const step = first <= last ? 1 : -1
    const ids = [from]
    for (let layer = first + step; layer !== last && first !== last; layer += step) {
      const id = `${from}\n${to}\n${layer}`
      layerOf.set(id, layer)
      ids.push(id)
    }
    ids.push(to)
    for (const [at, id] of ids.entries()) {
      const near = [ids[at - 1], ids[at + 1]].filter((one) => one !== undefined)
      neighbours.set(id, [...(neighbours.get(id) ?? []), ...near])
    }
    return { from, to, ids }
  })
  const count = Math.max(-1, ...layerOf.values()) + 1
  const inLayers: string[][] = Array.from({ length: count }, () => [])
  for (const id of [...layerOf.keys()].sort()) inLayers[layerOf.get(id) ?? 0]?.push(id)
  return { layerOf, layers: inLayers, neighbours, chains }
}

/** Rows by the mean of the neighbours' rows, back and forth; shorter layers stand in the middle. */
function orderRows({ layers, neighbours, layerOf }: Lanes): Map<string, number> {
  const tallest = Math.max(0, ...layers.map(({ length }) => length))
  const rows = new Map<string, number>()
  const place = (ids: readonly string[]) => {
    for (const [at, id] of ids.entries()) rows.set(id, at + (tallest - ids.length) / 2)
  }
  const ordered = layers.map((ids) => [...ids])
  for (const ids of ordered) place(ids)
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const isDown = sweep % 2 === 0
    for (const at of isDown ? ordered.keys() : [...ordered.keys()].reverse()) {
      const ids = ordered[at] ?? []
      const wish = new Map(ids.map((id) => [id, meanRow(id, isDown ? at - 1 : at + 1)]))
      ids.sort((a, b) => (wish.get(a) ?? 0) - (wish.get(b) ?? 0) || (a < b ? -1 : 1))
      place(ids)
    }
  }
  return rows

  function meanRow(id: string, layer: number): number {
    const near = (neighbours.get(id) ?? []).filter((one) => layerOf.get(one) === layer)
    if (near.length === 0) return rows.get(id) ?? 0
    return near.reduce((sum, one) => sum + (rows.get(one) ?? 0), 0) / near.length
  }
}
