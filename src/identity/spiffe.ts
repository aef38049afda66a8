/**
 * SPIFFE IDs of workloads, in the one form Istio uses: `spiffe://TRUST-DOMAIN/ns/NS/sa/SA`
 * (SPIFFE-ID specification sections 2.1 to 2.3). Reading is strict: what has a second spelling is
 * refused, so that two texts that compare unequal never name one workload.
 */
import type { PeerIdentity } from '#contract'

/** Scheme prefix; policies write principals without it. */
const SPIFFE_PREFIX = 'spiffe://'

/** A SPIFFE ID may have at most this many bytes (specification section 2.3). */
const MAX_ID_BYTES = 2048
const MAX_TRUST_DOMAIN_BYTES = 255

const TRUST_DOMAIN = /^[a-z0-9._-]+$/
const SEGMENT = /^[A-Za-z0-9._-]+$/

/** The parts of a workload's SPIFFE ID. */
export interface SpiffeParts {
  readonly trustDomain: string
  readonly namespace: string
  readonly serviceAccount: string
}

function validTrustDomain(text: string): boolean {
  return text.length <= MAX_TRUST_DOMAIN_BYTES && TRUST_DOMAIN.test(text)
}

function validSegment(text: string): boolean {
  return SEGMENT.test(text) && text !== '.' && text !== '..'
}

/**
 * The SPIFFE ID with its scheme. The parts come from validated objects and configuration; one that
 * could change the ID's shape is a bug and throws a RangeError.
 */
export function spiffeId(trustDomain: string, namespace: string, serviceAccount: string): string {
  if (!validTrustDomain(trustDomain)) {
    throw new RangeError(`Cannot make a SPIFFE ID: trust domain ${JSON.stringify(trustDomain)} is not valid`)
  }
  if (!validSegment(namespace)) {
    throw new RangeError(`Cannot make a SPIFFE ID: namespace ${JSON.stringify(namespace)} is not valid`)
  }
  if (!validSegment(serviceAccount)) {
    throw new RangeError(`Cannot make a SPIFFE ID: service account ${JSON.stringify(serviceAccount)} is not valid`)
  }
  return `${SPIFFE_PREFIX}${trustDomain}/ns/${namespace}/sa/${serviceAccount}`
}

/** The parts of an ID as a certificate carries it (with scheme), or undefined when it is not a workload's ID. */
export function parseSpiffeId(text: string): SpiffeParts | undefined {
  if (text.length > MAX_ID_BYTES || !text.startsWith(SPIFFE_PREFIX)) return undefined
  const parts = text.slice(SPIFFE_PREFIX.length).split('/')
  const [trustDomain, ns, namespace, sa, serviceAccount] = parts
  if (parts.length !== 5 || ns !== 'ns' || sa !== 'sa') return undefined
  if (trustDomain === undefined || namespace === undefined || serviceAccount === undefined) return undefined
  if (!validTrustDomain(trustDomain) || !validSegment(namespace) || !validSegment(serviceAccount)) return undefined
  return { trustDomain, namespace, serviceAccount }
}

/** The identity that a local pod's netns proves. Frozen: make it once per pod, not per request. Throws as `spiffeId`. */
export function peerIdentity(
  trustDomain: string,
  workload: { readonly namespace: string; readonly serviceAccount: string },
): PeerIdentity {
  const { namespace, serviceAccount } = workload
  const principal = spiffeId(trustDomain, namespace, serviceAccount).slice(SPIFFE_PREFIX.length)
  return Object.freeze({ namespace, serviceAccount, principal })
}
