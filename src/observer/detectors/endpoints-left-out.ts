/** Endpoints that get no requests: ejected because requests failed there, or because they do not pass their checks. */
import type { Detected } from '../detected.ts'
import { keyOf, type LookHistory, looksSince } from '../look-history.ts'
import type { NodeLook } from '../node-look.ts'

export function detectEndpointsLeftOut(history: LookHistory): readonly Detected[] {
  const { last } = history
  return last === undefined ? [] : [...ejected(history, last), ...unhealthy(history, last)]
}

function ejected(history: LookHistory, last: NodeLook): readonly Detected[] {
  return last.ejected.map(({ service, endpoint, callers }): Detected => {
    const subject = `${service} ${endpoint}`
    const [caller = 'unknown'] = callers
    const more = callers.length > 1 ? ` and ${callers.length - 1} more` : ''
    return {
      kind: 'endpoint-ejected',
      severity: 'warning',
      subject,
      says: `Endpoint ${endpoint} of Service ${service} gets no requests from ${caller}${more}, because requests to it failed one after the other`,
      evidence: [
        'Outlier detection of the TrafficPolicy ejected it; when its time is over it is tried again, and ejected for longer if it fails again',
      ],
      next: explain(last, caller, service),
      sinceMs: history.told('endpoint-ejected', subject)?.sinceMs ?? last.atMs,
      hurt: 0,
      follows: callers.flatMap((pod) => {
        const owner = last.pods.find(({ name }) => name === pod)?.owner ?? pod
        return [keyOf('error-rate', `${owner} -> ${service.replace(/:\d+$/, '')}`)]
      }),
    }
  })
}

function unhealthy(history: LookHistory, last: NodeLook): readonly Detected[] {
  // Each account that calls it checks for itself.
  const byEndpoint = new Map(last.unhealthy.map((one) => [`${one.service} ${one.endpoint}`, one]))
  return [...byEndpoint].map(([subject, { service, endpoint, why }]): Detected => {
    const looks = looksSince(history.looks, (look) =>
      look.unhealthy.some((one) => one.service === service && one.endpoint === endpoint),
    )
    const since = history.looks.at(-looks)?.atMs ?? last.atMs
    return {
      kind: 'endpoint-unhealthy',
      severity: 'warning',
      subject,
      says: `Endpoint ${endpoint} of Service ${service} gets no requests, because it does not pass its health check: ${why}`,
      evidence: last.unhealthy
        .filter((one) => one.service === service && one.endpoint === endpoint)
        .slice(0, 3)
        .map((one) => `Checked by pods of ${one.source}: ${one.why}`),
      next: 'weir status',
      sinceMs: history.told('endpoint-unhealthy', subject)?.sinceMs ?? since,
      hurt: 0,
    }
  })
}

function explain(last: NodeLook, caller: string, service: string): string {
  const url = last.world.urlOf(service)
  return url === undefined || caller === 'unknown' ? 'weir status' : `weir explain --from ${caller} --to ${url}`
}
