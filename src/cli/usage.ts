/** Help texts. */
import { STATE_DIR_DEFAULT } from '#contract'
import type { Verb } from './verb.ts'

/** The list of verbs. */
export function renderUsage(verbs: readonly Verb[]): string {
  const rows = [
    ['agent', 'run the agent of this node'],
    ['ca', 'serve certificates to the agents of all nodes, or revoke one'],
    ...verbs.map(({ name, summary }) => [name, summary]),
    ['uninstall', 'take Weir off this node'],
    ['help [VERB]', 'this text, or a verb’s'],
    ['version', 'the version of weir'],
  ]
  const lines = rows.map(([name = '', summary = '']) => `  ${name.padEnd(13)}${summary}\n`)
  return `Usage: weir VERB [flags]\n\nVerbs:\n${lines.join('')}\nweir VERB --help shows the flags of a verb.\n`
}

export function renderVerbUsage(verb: Verb): string {
  const own = verb.optionHelp.map((line) => `  ${line}\n`).join('')
  const usage = verb.usage === '' ? '' : ` ${verb.usage}`
  const examples = (verb.examples ?? []).map((line) => `  weir ${line}\n`).join('')
  const exits = verb.exitHelp ?? '0 all well, 1 something is wrong'
  return (
    `Usage: weir ${verb.name}${usage} [--json] [--state-dir DIR]\n\n${verb.does ?? `Shows ${verb.summary}.`}\n\nFlags:\n${own}` +
    `  --json                 print JSON\n` +
    `  --state-dir DIR        the agent's state directory (${STATE_DIR_DEFAULT})\n` +
    (examples === '' ? '' : `\nFor example:\n${examples}`) +
    `\nExit codes: ${exits}, 64 wrong usage, 69 the agent cannot be reached.\n`
  )
}
