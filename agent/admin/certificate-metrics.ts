/** Certificates as metrics: when each ends, and how often one could not be had. */
import type { MetricFamily } from '#contract'
import type { AgentStatus } from './backend.ts'

/** A node's pods are fewer, and so are their accounts. */
const MAX_IDENTITIES = 1000

/** Of present identities only: what is forgotten leaves no series. Certificates that are not there have none. */
export function certificateFamilies({ identities, certificateFailures }: AgentStatus): readonly MetricFamily[] {
  const known = identities.filter(({ notAfterMs }) => notAfterMs > 0).slice(0, MAX_IDENTITIES)
  return [
    {
      name: 'weir_certificate_expiry_timestamp_seconds',
      help: 'When the certificate of an identity of this node ends.',
      type: 'gauge',
      series: known.map(({ spiffeId, notAfterMs }) => ({
        labels: { identity: spiffeId },
        values: [notAfterMs / 1000],
      })),
    },
    {
      name: 'weir_certificate_failures_total',
      help: 'Tries to get or renew a certificate that failed.',
      type: 'counter',
      series: [{ labels: {}, values: [certificateFailures] }],
    },
  ]
}
