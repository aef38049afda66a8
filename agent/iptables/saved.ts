/** Reads what iptables-save prints. */

import { CHAIN_PREFIX } from './rules.ts'

/** A rule by which a built-in chain leads into one of ours. */
export const JUMP_OF_OURS = new RegExp(`(^| )-j ${CHAIN_PREFIX}[A-Z_]+$`)

export interface SavedChain {
  /** `ACCEPT` or `DROP` of a built-in chain; undefined for a chain somebody made. */
  readonly policy: string | undefined
  /** Without the leading `-A CHAIN `, in order. */
  readonly rules: string[]
}

export type SavedTable = Map<string, SavedChain>
export type SavedTables = ReadonlyMap<string, SavedTable>

export function parseSaved(text: string): SavedTables {
  const tables = new Map<string, SavedTable>()
  let table: SavedTable = new Map()
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      table = new Map()
      tables.set(line.slice(1).trim(), table)
    } else if (line.startsWith(':')) {
      const [name = '', policy] = line.slice(1).split(' ')
      table.set(name, { policy: policy === '-' ? undefined : policy, rules: [] })
    } else if (line.startsWith('-A ')) {
      const space = line.indexOf(' ', 3)
      table.get(line.slice(3, space))?.rules.push(line.slice(space + 1).trim())
    }
  }
  return tables
}

/** Names of tables: those that were there before us stay when we leave. */
export type TablesBefore = readonly string[]

/** True when the tables hold any rule, any chain of somebody's, or a policy other than ACCEPT. */
export function isInUse(saved: SavedTables): boolean {
  return [...saved.values()].some((chains) =>
    [...chains.values()].some((chain) => chain.policy !== 'ACCEPT' || chain.rules.length > 0),
  )
}

export function hasOurChains(table: SavedTable): boolean {
  return [...table.keys()].some((name) => name.startsWith(CHAIN_PREFIX))
}

/** Tables that are not there because of us: without chains of ours, or holding other things as well. */
export function foreignTables(saved: SavedTables): TablesBefore {
  return [...saved]
    .filter(([, table]) => !hasOurChains(table) || isInUse(new Map([['', withoutOurs(table)]])))
    .map(([name]) => name)
}

function withoutOurs(table: SavedTable): SavedTable {
  return new Map(
    [...table]
      .filter(([name]) => !name.startsWith(CHAIN_PREFIX))
      .map(([name, { policy, rules }]) => [name, { policy, rules: rules.filter((rule) => !JUMP_OF_OURS.test(rule)) }]),
  )
}
