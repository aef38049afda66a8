/**
 * `weir uninstall`: takes Weir off a node. The plugin leaves the network configuration first, so that no pod waits for an
 * agent that is not there; then rules, where an agent runs by its own hand as it ends, and what is on the disk.
 */
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { errorLine } from '#base'
import { uninstall as uninstallPlugin } from '#cni'
import { STATE_DIR_DEFAULT } from '#contract'
import { lockFile } from '#linux'
import { clearLeftover } from './enrol/leftovers.ts'
import { PodRecords } from './enrol/pod-records.ts'

// As in sysexits.h.
const EX_USAGE = 64
const EX_UNAVAILABLE = 69

const UNINSTALL_USAGE = `weir uninstall [options]
Takes Weir off this node: the CNI plugin, rules, and files. A running agent removes the rules of its pods when it ends,
--keep-rules or not; stop it then.
  --state-dir DIR       of the agent; default ${STATE_DIR_DEFAULT}
  --cni-conf-dir DIR    as the agent had it
  --cni-bin-dir DIR     as the agent had it
  --if-deleted NS/NAME  only if that DaemonSet is being deleted, or is gone: for a preStop hook, which runs on upgrades too
  --kubeconfig FILE     with --if-deleted: how to reach the API server; default: as a pod of the cluster does`

/** Written for the running agent: its end is for good. */
const MARK = 'uninstall'

/** Does the agent of this state directory end for good? */
export function isUninstalled(stateDir: string): boolean {
  return existsSync(join(stateDir, MARK))
}

/** An agent that starts is there to stay. */
export function forgetUninstall(stateDir: string): void {
  rmSync(join(stateDir, MARK), { force: true })
}

const OPTIONS = {
  'state-dir': { type: 'string' },
  'cni-conf-dir': { type: 'string' },
  'cni-bin-dir': { type: 'string' },
  'if-deleted': { type: 'string' },
  kubeconfig: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

/** @param args what follows `weir uninstall`; resolves with the exit code */
export async function main(args: readonly string[]): Promise<number> {
  let values: ReturnType<typeof read>
  try {
    values = read(args)
  } catch (thrown) {
    return fail(EX_USAGE, `${errorLine(thrown)}; see weir uninstall --help.`)
  }
  if (values.help === true) {
    process.stdout.write(`${UNINSTALL_USAGE}\n`)
    return 0
  }
  const { 'cni-conf-dir': confDir, 'cni-bin-dir': binDir, 'if-deleted': daemonSet, kubeconfig } = values
  if ((confDir === undefined) !== (binDir === undefined)) {
    return fail(EX_USAGE, '--cni-conf-dir and --cni-bin-dir go together; give both or none.')
  }
  const [, namespace, name] = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(daemonSet ?? '') ?? []
  if (daemonSet !== undefined && (namespace === undefined || name === undefined)) {
    return fail(EX_USAGE, `--if-deleted: expected NAMESPACE/NAME, got ${JSON.stringify(daemonSet)}.`)
  }
  try {
    if (namespace !== undefined && name !== undefined && (await isStillWanted(namespace, name, kubeconfig))) {
      say(`DaemonSet ${daemonSet} stays: nothing is removed`)
      return 0
    }
    const stateDir = resolve(values['state-dir'] ?? STATE_DIR_DEFAULT)
    // Undefined where an agent runs, which sees the mark from now on; also before it would chain the plugin again.
    const lock = takeLock(stateDir)
    if (confDir !== undefined && binDir !== undefined) {
      const changed = uninstallPlugin(resolve(confDir), resolve(binDir))
      const files = changed.join(', ')
      say(files === '' ? 'no network configuration names the CNI plugin' : `CNI plugin taken out of ${files}`)
    }
    if (lock === undefined) say('an agent runs here: it removes its rules and files when it ends; stop it now')
    else await clearNode(stateDir, lock)
    return 0
  } catch (thrown) {
    return fail(EX_UNAVAILABLE, errorLine(thrown))
  }
}

function read(args: readonly string[]) {
  return parseArgs({ args: [...args], options: OPTIONS, strict: true, allowPositionals: false }).values
}

/** Only a DaemonSet that is known to be gone, or to go, is not wanted: in doubt nothing is removed. */
async function isStillWanted(namespace: string, name: string, kubeconfig: string | undefined): Promise<boolean> {
  const { KubernetesError, openKubernetesApi } = await import('#kubernetes')
  await using api = await openKubernetesApi(kubeconfig === undefined ? {} : { kubeconfig })
  try {
    const found = await api.request('GET', `/apis/apps/v1/namespaces/${namespace}/daemonsets/${name}`, {
      timeoutMs: 5_000,
    })
    const { metadata } = found as { readonly metadata?: { readonly deletionTimestamp?: string } }
    return metadata?.deletionTimestamp === undefined
  } catch (thrown) {
    if (thrown instanceof KubernetesError && thrown.status === 404) return false
    // It may be deleted with all its rights, but also have lost them otherwise: fail closed.
    if (thrown instanceof KubernetesError && (thrown.status === 401 || thrown.status === 403)) {
      say(`Cannot ask for DaemonSet ${namespace}/${name} (${errorLine(thrown)}): nothing is removed`)
      return true
    }
    throw thrown
  }
}

function takeLock(stateDir: string): Disposable | undefined {
  mkdirSync(stateDir, { recursive: true })
  const lock = lockFile(join(stateDir, 'lock'))
  if (lock === undefined) writeFileSync(join(stateDir, MARK), '')
  return lock
}

async function clearNode(stateDir: string, lock: Disposable): Promise<void> {
  const records = new PodRecords(stateDir)
  const lockDir = join(stateDir, 'locks')
  mkdirSync(lockDir, { recursive: true })
  let cleared = 0
  for (const record of records.list()) {
    if ((await clearLeftover(record, lockDir)) === 'removed') cleared++
    records.remove(record.uid)
  }
  removeState(stateDir)
  lock[Symbol.dispose]()
  say(`rules of ${cleared} pods removed, and ${stateDir}`)
}

/** To be called when nothing of the state is needed any more. */
export function removeState(stateDir: string): void {
  for (const name of readdirSync(stateDir)) rmSync(join(stateDir, name), { recursive: true, force: true })
  try {
    rmdirSync(stateDir)
  } catch {
    // A mount, which is its owner's to remove.
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function fail(status: number, line: string): number {
  process.stderr.write(`weir uninstall: ${line}\n`)
  return status
}
