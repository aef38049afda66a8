/** The agent's flags as people read of them: in --help and in docs/install.md, with the defaults that hold. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { AGENT_FLAGS, agentUsage, parseAgentArguments } from '../../../agent/config.ts'

const INSTALL = readFileSync(new URL('../../../docs/install.md', import.meta.url), 'utf8')

interface Row {
  readonly name: string
  readonly hasValue: boolean
  readonly default: string
  readonly says: string
}

/** One for each flag that a row names. */
function rowsOfTable(): readonly Row[] {
  const [, table = ''] = /\n\| `weir agent` .*\n\| -.*\n((?:\|.*\n)+)/.exec(INSTALL) ?? []
  return table
    .trimEnd()
    .split('\n')
    .flatMap((line) => {
      const [, flags = '', defaults = '', says = ''] = line.split(/(?<!\\)\|/).map((cell) => cell.trim())
      const names = [...flags.matchAll(/`--([a-z-]+)( [^`]+)?`/g)]
      const each = names.length === 1 ? [defaults] : defaults.split(', ')
      return names.map(([, name = '', value], at) => {
        return { name, hasValue: value !== undefined, default: (each[at] ?? '').replaceAll('`', ''), says }
      })
    })
}

t.test('the table of docs/install.md has each flag once, with its default', async (t) => {
  const rows = rowsOfTable()
  t.same(rows.map(({ name }) => name).sort(), Object.keys(AGENT_FLAGS).sort())
  for (const { name, hasValue, default: told, says } of rows) {
    const flag = AGENT_FLAGS[name]
    t.equal(hasValue, flag?.value !== undefined, `--${name} takes a value`)
    const expected = flag?.defaultSays ?? flag?.default ?? ''
    if (!says.includes(`\`${expected}\``) || told === '') t.equal(told, expected, `default of --${name}`)
  }
})

t.test('--help tells of each flag once, with its default, in lines that fit', async (t) => {
  const usage = agentUsage()
  for (const line of usage.split('\n')) t.ok(line.length <= 120 && line.trimEnd() === line, line)
  const [, ...entries] = usage.split(/\n(?= {2}--)/)
  t.same(
    entries.map((entry) => /^ {2}--([a-z-]+)/.exec(entry)?.[1]),
    Object.keys(AGENT_FLAGS),
  )
  for (const [at, [name, flag]] of Object.entries(AGENT_FLAGS).entries()) {
    const text = (entries[at] ?? '').replaceAll(/\s+/g, ' ')
    const shown = flag.defaultSays ?? flag.default
    if (shown !== undefined) t.ok(text.includes(`default ${shown}`), `default of --${name}`)
  }
})

t.test('every default is one that may be given, and makes no other configuration', async (t) => {
  const base = ['--node=n1', '--manifests=/m', '--trace-otlp=http://c/v1/traces', '--logs=all']
  const { kind, ...plain } = parseAgentArguments(base)
  t.equal(kind, 'config')
  for (const [name, { default: value }] of Object.entries(AGENT_FLAGS)) {
    if (value === undefined || name === 'logs') continue
    t.same(parseAgentArguments([...base, `--${name}=${value}`]), { kind, ...plain }, `--${name}=${value}`)
  }
})

t.test('a switch takes no value, every other flag needs one', async (t) => {
  const base = ['--node=n1', '--manifests=/m']
  for (const [name, { value }] of Object.entries(AGENT_FLAGS)) {
    const args = value === undefined ? [`--${name}=on`] : [`--${name}`]
    const message = `--${name}: ${value === undefined ? 'takes no value' : 'needs a value'}.`
    const given = base.filter((one) => !one.startsWith(`--${name}=`))
    const parsed = parseAgentArguments([...given, ...args])
    t.ok(parsed.kind === 'errors' && parsed.errors.includes(message), message)
  }
})
