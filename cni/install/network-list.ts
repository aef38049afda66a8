/**
 * Our entry in a network configuration list (CNI 1.1.0, section 1): put at the end, taken out again, as edits of the
 * text, so that taking it out gives back the very bytes that were there before.
 */
import { PREFERRED_VERSION, SUPPORTED_VERSIONS } from '../plugin/outcome.ts'
import { asRecord, parseRecord } from '../protocol.ts'
import { findArray } from './json-spans.ts'

/** Also the name of the executable. */
export const PLUGIN_TYPE = 'weir'

/** The fields that plugin/network-configuration.ts reads. */
export interface PluginEntry {
  readonly type: typeof PLUGIN_TYPE
  readonly socket: string
  readonly index: string
  readonly excludeNamespaces: readonly string[]
}

export type Chained =
  | { readonly kind: 'chained'; readonly text: string }
  /** It was there already. */
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'unfit'; readonly why: string }

export function chainInto(text: string, entry: PluginEntry): Chained {
  const list = parseRecord(text)
  if (list === undefined) return unfit('is not a JSON object (half written?)')
  const plugins = list['plugins']
  if (!Array.isArray(plugins) || plugins.length === 0) return unfit('names no plugins')
  const refusal = refuseVersions(list)
  if (refusal !== undefined) return unfit(refusal)
  const own = plugins.filter(isOwn)
  if (own.length === 1 && JSON.stringify(own[0]) === JSON.stringify(entry)) return { kind: 'unchanged' }
  if (own.length === plugins.length) return unfit('has no plugin but ours')
  return { kind: 'chained', text: append(unchain(text) ?? text, entry) }
}

/** The text without our entry; undefined when it has none. */
export function unchain(text: string): string | undefined {
  let rest = text
  for (;;) {
    const plugins = parseRecord(rest)?.['plugins']
    const index = Array.isArray(plugins) ? plugins.findIndex(isOwn) : -1
    if (index === -1) return rest === text ? undefined : rest
    const elements = findArray(rest, 'plugins')?.elements ?? []
    const own = elements[index]
    if (own === undefined) return undefined
    const [before, after] = [elements[index - 1], elements[index + 1]]
    const cutFrom = before?.end ?? own.start
    const cutTo = before === undefined ? (after?.start ?? own.end) : own.end
    rest = rest.slice(0, cutFrom) + rest.slice(cutTo)
  }
}

/** A list of the one plugin of a `.conf` file, and ours; as libcni itself makes a list of it. */
export function listOfConfiguration(text: string, entry: PluginEntry): Chained {
  const conf = parseRecord(text)
  if (conf === undefined) return unfit('is not a JSON object (half written?)')
  if (typeof conf['type'] !== 'string') return unfit('names no plugin type')
  const refusal = refuseVersions(conf)
  if (refusal !== undefined) return unfit(refusal)
  const { cniVersion, name } = conf
  return { kind: 'chained', text: `${JSON.stringify({ cniVersion, name, plugins: [conf, entry] }, null, 2)}\n` }
}

/** Chained where the runtime asks for a version that is not ours, the plugin would stop every pod. */
function refuseVersions({ cniVersion, cniVersions }: Readonly<Record<string, unknown>>): string | undefined {
  const asked = [cniVersion ?? '', ...(Array.isArray(cniVersions) ? cniVersions : [])]
  const strange = asked.find((version) => !SUPPORTED_VERSIONS.includes(String(version)))
  if (strange === undefined) return undefined
  return `asks for cniVersion ${JSON.stringify(strange)}; supported are ${SUPPORTED_VERSIONS.join(', ')}: set ${PREFERRED_VERSION} or lower`
}

function append(text: string, entry: PluginEntry): string {
  const array = findArray(text, 'plugins')
  const [first, last] = [array?.elements[0], array?.elements.at(-1)]
  if (array === undefined || first === undefined || last === undefined) return text
  const lead = text.slice(array.open, first.start)
  if (!lead.includes('\n')) return insert(text, last.end, `,${lead === '' ? '' : ' '}${JSON.stringify(entry)}`)
  const indent = lead.slice(lead.lastIndexOf('\n') + 1)
  const unit = indent.includes('\t') ? '\t' : '  '
  const rendered = JSON.stringify(entry, null, unit).replaceAll('\n', `\n${indent}`)
  return insert(text, last.end, `,\n${indent}${rendered}`)
}

function insert(text: string, at: number, more: string): string {
  return text.slice(0, at) + more + text.slice(at)
}

function isOwn(plugin: unknown): boolean {
  return asRecord(plugin)?.['type'] === PLUGIN_TYPE
}

function unfit(why: string): Chained {
  return { kind: 'unfit', why }
}
