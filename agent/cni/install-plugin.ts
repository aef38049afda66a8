/** Puts the CNI plugin onto the node and keeps it in the network configuration, for as long as the agent runs. */
import { installExecutable, pluginEntry, watchChain } from '#cni'
import type { CniConfig } from '../config/cni.ts'
import type { AgentLog } from '../log.ts'

/**
 * The paths are those of the node. What is installed stays when the agent ends: it is what fails closed meanwhile.
 * @returns ends following the configuration; undefined where nothing is to be installed
 * @throws WeirError when the executable or a directory is missing
 */
export function installPlugin(
  { confDir, binDir, socket, plugin }: CniConfig,
  mayChain: () => boolean,
  log: AgentLog,
): Disposable | undefined {
  if (confDir === undefined || binDir === undefined || socket === undefined) return undefined
  installExecutable(plugin, binDir)
  return watchChain({
    confDir,
    mayChain,
    entry: pluginEntry({ socket, hostConfDir: confDir }),
    onState: ({ kind }, text) => log[kind === 'chained' ? 'info' : 'warn']({ state: text }, 'CNI plugin'),
  })
}
