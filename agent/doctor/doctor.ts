/** What `weir check` asks a running agent beyond its own state: the machine, its neighbours, the cluster. */
import { type CheckLine, okLine } from '#contract'
import { certificateClockLines } from './clock-lines.ts'
import { readCniFacts } from './cni-facts.ts'
import { cniLines } from './cni-lines.ts'
import type { DoctorOptions } from './doctor-options.ts'
import { leftoverLines } from './leftovers.ts'
import { readMachineFacts } from './machine-facts.ts'
import { machineLines } from './machine-lines.ts'
import { mixedBackendLines } from './mixed-backends.ts'
import { probeNetfilter } from './netfilter-probe.ts'
import { readPodRecords } from './pod-records.ts'
import { type Check, runChecks } from './run-checks.ts'

/** Takes at most `CHECK_TIMEOUT_MS`; never rejects. */
export async function examineNode(options: DoctorOptions): Promise<readonly CheckLine[]> {
  return (await Promise.all([runChecks(nodeChecks(options)), clusterLines(options)])).flat()
}

async function clusterLines({ api, ...rest }: DoctorOptions): Promise<readonly CheckLine[]> {
  if (api === undefined) {
    // There is no such kind in a directory of manifests, and nothing that enforces it.
    return [okLine('NetworkPolicies are not among the manifests that Weir reads, and were not looked at')]
  }
  const { examineCluster } = await import('./cluster-checks.ts')
  return await examineCluster(api, rest)
}

function nodeChecks(options: DoctorOptions): readonly Check[] {
  const { stateDir, cni, now } = options
  const checks: Check[] = [
    { name: 'machine', run: () => machineLines(readMachineFacts(stateDir)) },
    { name: 'netfilter', run: probeNetfilter },
    { name: 'iptables back ends', run: () => mixedBackendLines(enrolledRecords(options)) },
    { name: 'leftovers', run: (signal) => leftoverLines(leftoverOptions(options), signal) },
    { name: 'clock', run: () => certificateClockLines(options.identities(), now()) },
  ]
  if (cni !== undefined) checks.push({ name: 'CNI', run: async () => cniLines(await readCniFacts(cni), 'plugin') })
  return checks
}

function enrolledRecords({ stateDir, enrolled, now }: DoctorOptions) {
  const known = enrolled()
  return readPodRecords(stateDir, now()).records.filter(({ uid }) => known.has(uid))
}

function leftoverOptions({ node, stateDir, netnsDir = '/run/netns', api, world, enrolled, now }: DoctorOptions) {
  const podByAddress = new Map(
    world().flatMap((object) => {
      const isHere = object.kind === 'workload' && object.node === node && !object.hostNetwork && !object.terminating
      if (!isHere) return []
      return object.addresses.map((address) => [address, `${object.namespace}/${object.name}`] as const)
    }),
  )
  return { stateDir, netnsDir, known: enrolled(), podByAddress, strangers: api !== undefined, nowMs: now() }
}
