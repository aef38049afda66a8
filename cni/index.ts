/** Of the CNI plugin what the agent needs: how it is installed, and where it looks for the agent. */
export { indexPath, installExecutable, pluginEntry, uninstall } from './install/install.ts'
export { chainInto, listOfConfiguration, PLUGIN_TYPE, unchain } from './install/network-list.ts'
export { watchChain } from './install/watch-chain.ts'
