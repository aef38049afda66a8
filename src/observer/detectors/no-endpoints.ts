/** Services behind which nothing can be asked, and which are asked, or led to by a route. Others may be meant so. */
import type { Detected } from '../detected.ts'
import { type LookHistory, looksSince } from '../look-history.ts'
import type { EmptyService } from '../node-look.ts'
import { explainCommand } from '../words.ts'

/** A Service that nobody asks is told after so many looks: its pods may be on their way. */
const PATIENT_LOOKS = 3
const MAX_LINES = 3

export function detectNoEndpoints(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  return last.world.emptyServices.flatMap((empty): Detected[] => {
    const { service, routes } = empty
    const askers = askersOf(history, service)
    const asked = [...askers.values()].reduce((sum, count) => sum + count, 0)
    const looks = looksSince(history.looks, ({ world }) => world.emptyServices.some((one) => one.service === service))
    if (asked === 0 && (routes.length === 0 || looks < PATIENT_LOOKS)) return []
    const [asker = ''] = askers.keys()
    const who = askers.size > 1 ? `${asker} and ${askers.size - 1} more` : asker
    const consequence = asked > 0 ? `what ${who} asks of it fails` : `${routes.join(', ')} leads to it`
    return [
      {
        kind: 'no-endpoints',
        severity: asked > 0 ? 'critical' : 'warning',
        subject: service,
        says: `Service ${service} has no endpoint that is ready, and ${consequence}`,
        evidence: [
          behindLine(empty),
          ...[...askers].slice(0, MAX_LINES).map(([source, count]) => `${source}: ${count} requests failed`),
          ...(asked > 0 && routes.length > 0 ? [`${routes.slice(0, MAX_LINES).join(', ')} leads to it`] : []),
        ],
        next: (asked > 0 ? explainCommand(last, asker, service) : undefined) ?? 'weir pods --all',
        sinceMs: history.told('no-endpoints', service)?.sinceMs ?? history.looks.at(-looks)?.atMs ?? last.atMs,
        hurt: asked,
      },
    ]
  })
}

function behindLine({ unready }: EmptyService): string {
  return unready === 0
    ? 'No pod is behind it: is its selector right, and does its Deployment have replicas?'
    : `${unready} ${unready === 1 ? 'endpoint is' : 'endpoints are'} there and not ready`
}

/** By caller: requests that failed for want of an endpoint. */
function askersOf(history: LookHistory, service: string): ReadonlyMap<string, number> {
  const askers = new Map<string, number>()
  for (const { edges } of history.recent) {
    for (const { edge, reasons } of edges) {
      if (edge.service !== service) continue
      for (const [reason, count] of Object.entries(reasons)) {
        if (reason.startsWith('UH ')) askers.set(edge.source, (askers.get(edge.source) ?? 0) + count)
      }
    }
  }
  return new Map([...askers].sort((a, b) => b[1] - a[1]))
}
