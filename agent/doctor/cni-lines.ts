/** Is the node's network configuration fit for the CNI plugin, and is the plugin where it should be. Pure. */
import { chainInto, listOfConfiguration, PLUGIN_TYPE, pluginEntry, unchain } from '#cni'
import { type CheckLine, failureLine, okLine, warningLine } from '#contract'

export interface CniFacts {
  readonly confDir: string
  readonly binDir: string
  /** Somebody named it, and so means it to be there. */
  readonly named: { readonly confDir: boolean; readonly binDir: boolean }
  /** Names there that a runtime would take, the one it takes first; undefined without the directory. */
  readonly configurations: readonly string[] | undefined
  /** Text of the first of them; undefined when it cannot be read. */
  readonly text: string | undefined
  /** Executables in binDir that are not ours; undefined without the directory. */
  readonly plugins: readonly string[] | undefined
  readonly binary: 'absent' | 'not-executable' | 'present'
  /** CNI versions that the executable says it speaks; undefined when it did not answer. */
  readonly binaryVersions: readonly string[] | undefined
}

/**
 * What should be there: the plugin, which an agent of this node keeps in place; nothing of ours, since no agent runs here
 * (yet); either, where one runs and only it knows.
 */
export type CniExpectation = 'plugin' | 'nothing' | 'either'

export function cniLines(facts: CniFacts, expected: CniExpectation): readonly CheckLine[] {
  // An agent misses its own plugin there, and says so.
  const binLines = expected === 'plugin' ? [] : binDirLines(facts)
  return [...confLines(facts, expected), ...binLines]
}

function confLines(facts: CniFacts, expected: CniExpectation): readonly CheckLine[] {
  const { confDir, configurations, text } = facts
  if (configurations === undefined) return [absentLine(facts, expected)]
  const [first] = configurations
  if (first === undefined) {
    return [
      warningLine(
        `CNI: ${confDir} holds no network configuration`,
        "install the cluster's network plugin: no pod starts without",
      ),
    ]
  }
  const path = `${confDir}/${first}`
  if (text === undefined) return [failureLine(`CNI: ${path} cannot be read`, 'see to its permissions')]
  const entry = pluginEntry({ hostConfDir: confDir })
  const chained = first.endsWith('.conflist') ? chainInto(text, entry) : listOfConfiguration(text, entry)
  if (chained.kind === 'unfit')
    return [failureLine(`CNI: ${path} ${chained.why}`, 'Weir is not chained into it as it is')]
  const isChained = unchain(text) !== undefined
  const judgesPlugin = expected === 'plugin' || (expected === 'either' && isChained)
  return judgesPlugin ? chainedLines(facts, path, isChained) : unchainedLines(facts, path, isChained)
}

function absentLine({ confDir, named }: CniFacts, expected: CniExpectation): CheckLine {
  if (named.confDir) {
    return failureLine(
      `CNI: ${confDir} is no directory`,
      'name the directory of the network configuration with --cni-conf-dir',
    )
  }
  if (expected !== 'plugin') return okLine(`CNI: no ${confDir}: pods are enrolled without a network plugin's help`)
  return failureLine(
    `CNI: ${confDir} does not exist`,
    'mount it into the agent, or name the right one with --cni-conf-dir',
  )
}

function binDirLines({ binDir, named, configurations, plugins }: CniFacts): readonly CheckLine[] {
  const remedy = 'name the directory of the network plugins with --cni-bin-dir'
  if (plugins === undefined) {
    if (named.binDir) return [failureLine(`CNI: ${binDir} is no directory`, remedy)]
    // A node without network plugins, as it seems.
    return configurations === undefined ? [] : [warningLine(`CNI: no ${binDir}`, remedy)]
  }
  if (plugins.length > 0 || (configurations === undefined && !named.binDir)) return []
  return [warningLine(`CNI: ${binDir} holds no network plugin`, remedy)]
}

function chainedLines(facts: CniFacts, path: string, isChained: boolean): readonly CheckLine[] {
  const binary = `${facts.binDir}/${PLUGIN_TYPE}`
  const chain = isChained
    ? okLine(`CNI: Weir is chained into ${path} (${chainOf(facts.text ?? '').join(', ')})`)
    : failureLine(
        `CNI: Weir is not chained into ${path}, the configuration that the runtime takes`,
        'see the agent log; pods that start now are enrolled only afterwards',
      )
  if (facts.binary === 'absent') {
    return [
      chain,
      failureLine(`CNI: ${binary} is missing`, 'restart the agent, or name the right directory with --cni-bin-dir'),
    ]
  }
  if (facts.binary === 'not-executable') {
    return [chain, failureLine(`CNI: ${binary} is not executable`, `chmod 755 ${binary}`)]
  }
  const asked = versionOf(facts.text ?? '')
  if (facts.binaryVersions === undefined) {
    return [
      chain,
      warningLine(`CNI: ${binary} does not answer VERSION here`, 'run it on the host: CNI_COMMAND=VERSION'),
    ]
  }
  if (asked !== undefined && !facts.binaryVersions.includes(asked)) {
    const what = `CNI: ${binary} speaks ${facts.binaryVersions.join(', ')}, ${path} asks for ${asked}`
    return [chain, failureLine(what, "restart the agent, so that it installs its own version's plugin")]
  }
  return [chain, okLine(`CNI: ${binary} answers${asked === undefined ? '' : `, version ${asked}`}`)]
}

function unchainedLines({ text, binary, binDir }: CniFacts, path: string, isChained: boolean): readonly CheckLine[] {
  if (isChained) {
    const remedy = 'start the agent, or take it out with weir uninstall: until then pods that opted in do not start'
    return [warningLine(`CNI: Weir is chained into ${path}, and no agent runs here`, remedy)]
  }
  const chain = okLine(`CNI: ${path} (${chainOf(text ?? '').join(', ')}) can take Weir`)
  if (binary === 'absent') return [chain]
  return [
    chain,
    warningLine(`CNI: ${binDir}/${PLUGIN_TYPE} is left over from an installation`, 'remove it with weir uninstall'),
  ]
}

function chainOf(text: string): readonly string[] {
  const value = parsed(text)
  const plugins: readonly unknown[] = 'plugins' in value && Array.isArray(value.plugins) ? value.plugins : [value]
  return plugins.map((plugin) =>
    typeof plugin === 'object' && plugin !== null && 'type' in plugin ? String(plugin.type) : '?',
  )
}

function versionOf(text: string): string | undefined {
  const value = parsed(text)
  return 'cniVersion' in value && typeof value.cniVersion === 'string' ? value.cniVersion : undefined
}

/** What does not parse was refused before this is asked. */
function parsed(text: string): object {
  const value: unknown = JSON.parse(text)
  return typeof value === 'object' && value !== null ? value : {}
}
