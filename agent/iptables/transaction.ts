/**
 * From what is there and what should be to one iptables-restore --noflush input: each table changes
 * in one step, rules of others are not mentioned. Pure.
 */
import { CHAIN_PREFIX, type TableName, type TableRules } from './rules.ts'
import { isInUse, JUMP_OF_OURS, type SavedTable, type SavedTables, type TablesBefore } from './saved.ts'

/** What is missing or different, in words; empty when all is as it should be. */
export function findDifferences(desired: readonly TableRules[], saved: SavedTables): string[] {
  const out: string[] = []
  for (const { table, jumps, chains } of desired) {
    const there = saved.get(table)
    if (there === undefined) {
      out.push(`table ${table}`)
      continue
    }
    for (const { from, rule } of jumps) {
      const rules = there.get(from)?.rules ?? []
      if (rules[0] !== rule || rules.filter((text) => JUMP_OF_OURS.test(text)).length !== 1)
        out.push(`${table} jump from ${from}`)
    }
    for (const { name, rules } of chains) {
      const actual = there.get(name)?.rules
      if (actual === undefined || actual.join('\n') !== rules.join('\n')) out.push(`${table} chain ${name}`)
    }
  }
  return out
}

/** Input that makes the tables as desired, whatever is there of ours (nothing, remains, an older edition). */
export function renderApply(desired: readonly TableRules[], saved: SavedTables): string {
  return desired.map((rules) => renderTable(rules, saved.get(rules.table) ?? new Map())).join('')
}

function renderTable({ table, jumps, chains }: TableRules, there: SavedTable): string {
  const wanted = new Set(chains.map(({ name }) => name))
  const stale = ourChains(there).filter((name) => !wanted.has(name))
  return block(table, [
    // A declared chain is made, or emptied if it is there.
    ...[...wanted, ...stale].map((name) => `:${name} - [0:0]`),
    ...jumpsOfOurs(there).map(({ from, rule }) => `-D ${from} ${rule}`),
    ...chains.flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${rule}`)),
    ...jumps.map(({ from, rule }) => `-I ${from} 1 ${rule}`),
    ...stale.map((name) => `-X ${name}`),
  ])
}

/** Input that takes everything of ours out of the named tables, in that order; empty if there is nothing. */
export function renderRemove(tables: readonly TableName[], saved: SavedTables): string {
  return tables
    .map((table) => {
      const there: SavedTable = saved.get(table) ?? new Map()
      const chains = ourChains(there)
      const jumps = jumpsOfOurs(there)
      if (chains.length === 0 && jumps.length === 0) return ''
      return block(table, [
        ...jumps.map(({ from, rule }) => `-D ${from} ${rule}`),
        ...chains.map((name) => `-F ${name}`),
        ...chains.map((name) => `-X ${name}`),
      ])
    })
    .join('')
}

/** Input that leaves our chains in the table but lets nothing enter them; empty if nothing does. */
export function renderUnhook(table: TableName, saved: SavedTables): string {
  const jumps = jumpsOfOurs(saved.get(table) ?? new Map())
  return jumps.length === 0
    ? ''
    : block(
        table,
        jumps.map(({ from, rule }) => `-D ${from} ${rule}`),
      )
}

/** Built-in chains that our rules hang on, and so bring into being, per table. */
const CHAINS_WE_MAKE: Readonly<Record<TableName, readonly string[]>> = {
  filter: ['INPUT', 'OUTPUT'],
  nat: ['PREROUTING', 'OUTPUT'],
}

/**
 * Input for `nft -f -` that deletes tables which exist only because of us and are empty now. The chains go
 * first (declared once more, lest one be missing): a rule somebody adds to them meanwhile makes the whole fail.
 */
export function renderDeleteEmptied(family: 4 | 6, before: TablesBefore, saved: SavedTables): string {
  const nftFamily = family === 4 ? 'ip' : 'ip6'
  const lines: string[] = []
  for (const table of ['filter', 'nat'] as const) {
    const there = saved.get(table)
    if (there === undefined || before.includes(table) || isInUse(new Map([[table, there]]))) continue
    for (const chain of CHAINS_WE_MAKE[table]) {
      lines.push(`add chain ${nftFamily} ${table} ${chain}`, `delete chain ${nftFamily} ${table} ${chain}`)
    }
    lines.push(`delete table ${nftFamily} ${table}`)
  }
  return lines.map((line) => `${line}\n`).join('')
}

function ourChains(there: SavedTable): string[] {
  return [...there.keys()].filter((name) => name.startsWith(CHAIN_PREFIX))
}

function jumpsOfOurs(there: SavedTable): { from: string; rule: string }[] {
  return [...there].flatMap(([from, chain]) =>
    from.startsWith(CHAIN_PREFIX)
      ? []
      : chain.rules.filter((rule) => JUMP_OF_OURS.test(rule)).map((rule) => ({ from, rule })),
  )
}

function block(table: string, lines: readonly string[]): string {
  return `*${table}\n${lines.map((line) => `${line}\n`).join('')}COMMIT\n`
}
