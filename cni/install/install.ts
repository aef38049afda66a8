/** The plugin put onto a node and taken off again: executable first and last, so that no entry names a missing one. */
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { WeirError } from '#base'
import { EXCLUDED_NAMESPACES_DEFAULT, SOCKET_DEFAULT } from '../plugin/network-configuration.ts'
import { OWN_FOLDER, unchainAll } from './chain.ts'
import { PLUGIN_TYPE, type PluginEntry } from './network-list.ts'
import { replaceExecutable } from './replace-file.ts'

export interface PluginEntryOptions {
  /** As the host sees it. */
  readonly socket?: string
  /** Directory of the network configuration, as the host sees it. */
  readonly hostConfDir: string
  readonly excludeNamespaces?: readonly string[]
}

/** What is chained into the network configuration. */
export function pluginEntry({ socket, hostConfDir, excludeNamespaces }: PluginEntryOptions): PluginEntry {
  return {
    type: PLUGIN_TYPE,
    socket: socket ?? SOCKET_DEFAULT,
    index: indexPath(hostConfDir),
    excludeNamespaces: excludeNamespaces ?? EXCLUDED_NAMESPACES_DEFAULT,
  }
}

/** Where the agent writes the index of opted-in pods: on a disk that outlives a reboot, beside the configuration. */
export function indexPath(confDir: string): string {
  return join(confDir, OWN_FOLDER, 'index.json')
}

/** @param binary the built executable. @throws WeirError when it, or the directory, is missing */
export function installExecutable(binary: string, binDir: string): void {
  if (statSync(binary, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new WeirError('WEIR_CNI_BINARY', `The CNI plugin ${binary} is missing; build it with scripts/build-cni.`)
  }
  if (statSync(binDir, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new WeirError(
      'WEIR_CNI_BIN_DIR',
      `${binDir} (--cni-bin-dir) is no directory; name the one of the node's plugins.`,
    )
  }
  replaceExecutable(join(binDir, PLUGIN_TYPE), binary)
}

/** @returns the configuration files that were changed */
export function uninstall(confDir: string, binDir: string): readonly string[] {
  const changed = unchainAll(confDir)
  rmSync(join(binDir, PLUGIN_TYPE), { force: true })
  return changed
}
