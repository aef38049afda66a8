/** Session persistence of a route rule → what proxies carry out. */
import { createHash } from 'node:crypto'
import type { SessionPlan } from '#contract'
import type { Metadata, SessionPersistenceSpec } from '#resources'
import { parseDurationMs } from '#schema'

/** @param rule name of the rule, or its index as text */
export function compileSession(
  { type, sessionName, absoluteTimeout, idleTimeout, cookieConfig }: SessionPersistenceSpec,
  { namespace, name, uid = '' }: Metadata,
  rule: string,
): SessionPlan {
  const given = sessionName ?? `weir-session-${shortHash(`${namespace}/${name} ${rule}`)}`
  const absoluteTimeoutMs = absoluteTimeout === undefined ? undefined : parseDurationMs(absoluteTimeout)
  const idleTimeoutMs = idleTimeout === undefined ? undefined : parseDurationMs(idleTimeout)
  return {
    type,
    name: type === 'Header' ? given.toLowerCase() : given,
    ...(absoluteTimeoutMs === undefined ? {} : { absoluteTimeoutMs }),
    ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    permanent: cookieConfig?.lifetimeType === 'Permanent',
    seed: uid,
  }
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}
