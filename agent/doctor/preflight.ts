/** `weir check --preflight`: is this machine, and the cluster if one is named, what an agent would need. No agent is asked. */
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { errorLine } from '#base'
import { type CheckLine, failureLine, okLine, warningLine } from '#contract'
import { type KubernetesApi, openKubernetesApi } from '#kubernetes'
import { agentVersionLines } from './agent-versions.ts'
import { clusterLines, missingAccess } from './api-server.ts'
import { type CniPlace, readCniFacts } from './cni-facts.ts'
import { cniLines } from './cni-lines.ts'
import { leftoverLines } from './leftovers.ts'
import { listed } from './listed.ts'
import { readMachineFacts } from './machine-facts.ts'
import { machineLines } from './machine-lines.ts'
import { mixedBackendLines } from './mixed-backends.ts'
import { accessText, installAccess } from './needed-access.ts'
import { probeNetfilter } from './netfilter-probe.ts'
import { type Check, runChecks } from './run-checks.ts'

export interface PreflightOptions {
  readonly stateDir: string
  /** Of this program. */
  readonly version: string
  readonly kubeconfig?: string | undefined
  readonly cniConfDir?: string | undefined
  readonly cniBinDir?: string | undefined
  /** Default /run/netns. */
  readonly netnsDir?: string | undefined
}

const CNI_CONF_DIR = '/etc/cni/net.d'
const CNI_BIN_DIR = '/opt/cni/bin'
const NAMESPACE = 'weir-system'

/** Never rejects. */
export async function runPreflight(options: PreflightOptions): Promise<readonly CheckLine[]> {
  const { stateDir } = options
  const agentRuns = await answers(join(stateDir, 'admin.sock'))
  const checks: Check[] = [
    { name: 'agent', run: () => [agentLine(stateDir, agentRuns)] },
    { name: 'machine', run: () => machineLines(readMachineFacts(stateDir)) },
    {
      name: 'CNI',
      run: async () => cniLines(await readCniFacts(cniPlace(options)), agentRuns ? 'either' : 'nothing'),
    },
  ]
  const isRoot = process.geteuid?.() === 0
  if (isRoot) {
    checks.push({ name: 'netfilter', run: probeNetfilter })
    checks.push({ name: 'iptables back ends', run: () => mixedBackendLines([]) })
  }
  // What a running agent has to do with is no leftover, and only it knows what that is.
  if (isRoot && !agentRuns)
    checks.push({ name: 'leftovers', run: (signal) => leftoverLines(leftoverOptions(options), signal) })
  return [...(await runChecks(checks)), ...(await kubeconfigLines(options))]
}

function cniPlace({ cniConfDir, cniBinDir }: PreflightOptions): CniPlace {
  return {
    confDir: cniConfDir ?? CNI_CONF_DIR,
    binDir: cniBinDir ?? CNI_BIN_DIR,
    named: { confDir: cniConfDir !== undefined, binDir: cniBinDir !== undefined },
  }
}

function agentLine(stateDir: string, runs: boolean): CheckLine {
  return runs ? okLine(`an agent runs here (${stateDir}): weir check asks it`) : okLine('no agent runs here')
}

function leftoverOptions({ stateDir, netnsDir = '/run/netns' }: PreflightOptions) {
  return { stateDir, netnsDir, known: undefined, podByAddress: new Map(), strangers: true, nowMs: Date.now() }
}

async function kubeconfigLines({ kubeconfig, version }: PreflightOptions): Promise<readonly CheckLine[]> {
  if (kubeconfig === undefined) return []
  if (!existsSync(kubeconfig))
    return [failureLine(`${kubeconfig} does not exist`, 'name a kubeconfig with --kubeconfig')]
  let api: KubernetesApi
  try {
    api = await openKubernetesApi({ kubeconfig })
  } catch (thrown) {
    return [failureLine(`${kubeconfig} cannot be used`, errorLine(thrown))]
  }
  await using opened = api
  return await clusterLines(
    opened,
    [
      { name: 'installation', run: (signal) => installLines(opened, signal) },
      { name: 'versions', run: (signal) => agentVersionLines(opened, { version, namespace: NAMESPACE, signal }) },
    ],
    { now: Date.now },
  )
}

/** Whoever applies daemonset.yaml needs to be allowed what is in it. */
async function installLines(api: KubernetesApi, signal: AbortSignal): Promise<readonly CheckLine[]> {
  const missing = await missingAccess(api, installAccess(NAMESPACE), signal)
  if (missing.length === 0) return [okLine('this kubeconfig may install Weir')]
  const what = `this kubeconfig may not install Weir: ${listed(missing.map(accessText))}`
  return [warningLine(what, 'apply daemonset.yaml as someone who may')]
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.on('connect', () => end(true))
    socket.on('error', () => end(false))
    socket.setTimeout(1_000, () => end(false))
  })
}
