/** Whether an endpoint passes a health check: some failures in a row make it unhealthy, some passes well again. */

export interface EndpointHealth {
  healthy: boolean
  /** Results in a row that contradict `healthy`. */
  against: number
  /** When it became unhealthy, monotonic ms. */
  since: number
  /** What was found wrong last; empty for nothing. */
  why: string
}

/** Healthy until the contrary is found: a check that is new takes nobody out. */
export function newEndpointHealth(): EndpointHealth {
  return { healthy: true, against: 0, since: 0, why: '' }
}

/**
 * @param why what is wrong; empty when the check was passed
 * @returns whether the endpoint is seen differently from now on
 */
export function observeCheck(
  health: EndpointHealth,
  why: string,
  limits: { readonly unhealthyThreshold: number; readonly healthyThreshold: number },
  now: number,
): boolean {
  const passed = why === ''
  if (!passed) health.why = why
  if (passed === health.healthy) {
    health.against = 0
    return false
  }
  health.against++
  if (health.against < (passed ? limits.healthyThreshold : limits.unhealthyThreshold)) return false
  health.healthy = passed
  health.against = 0
  if (passed) health.why = ''
  else health.since = now
  return true
}
