/** All detectors, one after the other, and what they found in the order in which it is told. */
import type { Finding } from '#contract'
import type { Detector } from './detected.ts'
import { detectCertificates } from './detectors/certificates.ts'
import { detectDenials } from './detectors/denials.ts'
import { detectEndpointsLeftOut } from './detectors/endpoints-left-out.ts'
import { detectErrorRates } from './detectors/error-rates.ts'
import { detectLeaks } from './detectors/leaks.ts'
import { detectNoEndpoints } from './detectors/no-endpoints.ts'
import { detectNode } from './detectors/node.ts'
import { detectObjects } from './detectors/objects.ts'
import { detectPods } from './detectors/pods.ts'
import { detectProxies } from './detectors/proxies.ts'
import { detectSilentPods } from './detectors/silent-pods.ts'
import { detectSlowEndpoints } from './detectors/slow-endpoints.ts'
import type { LookHistory } from './look-history.ts'
import { rankFindings } from './rank-findings.ts'

const DETECTORS: readonly Detector[] = [
  detectErrorRates,
  detectDenials,
  detectNoEndpoints,
  detectSlowEndpoints,
  detectEndpointsLeftOut,
  detectObjects,
  detectPods,
  detectCertificates,
  detectProxies,
  detectNode,
  detectLeaks,
  detectSilentPods,
]

/** To be called once for each look, after it has been added: what is found is remembered in the history. */
export function diagnose(history: LookHistory): readonly Finding[] {
  const found = DETECTORS.flatMap((detect) => detect(history))
  history.remember(found)
  return rankFindings(found)
}
