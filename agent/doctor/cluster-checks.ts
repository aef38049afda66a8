/** What an agent of a cluster asks its API server for `weir check`. Loaded only there: it keeps the server's client with it. */
import type { CheckLine } from '#contract'
import { agentVersionLines } from './agent-versions.ts'
import { type AskedApi, accessLines, clusterLines } from './api-server.ts'
import type { DoctorOptions } from './doctor-options.ts'
import { networkPolicyLines } from './network-policies.ts'

/** Never rejects. */
export function examineCluster(
  api: AskedApi,
  { namespace, version, world, staleSince, now }: Omit<DoctorOptions, 'api'>,
): Promise<readonly CheckLine[]> {
  const checks = [
    { name: 'permissions in the cluster', run: (signal: AbortSignal) => accessLines(api, namespace, signal) },
    { name: 'versions', run: (signal: AbortSignal) => agentVersionLines(api, { version, namespace, signal }) },
    { name: 'NetworkPolicies', run: (signal: AbortSignal) => networkPolicyLines(api, world(), signal) },
  ]
  return clusterLines(api, checks, { now, staleSince: staleSince?.() })
}
