/** Help texts. */
import { ADMIN_DEFAULT, STATE_DIR_DEFAULT, TRUST_DOMAIN_DEFAULT } from '#contract'
import type { Verb } from './verb.ts'

export const AGENT_SUMMARY = 'run the node agent'

export const AGENT_USAGE = `Usage: weir agent --node NAME (--manifests DIR | --kubernetes) [flags]

Runs the agent of this node until SIGTERM: it intercepts the pods that have opted in. Needs root.

Flags:
  --node NAME            this node, as in the pods' spec.nodeName
  --manifests DIR        read Kubernetes objects from the *.yaml files of DIR, and follow changes
  --kubernetes           read them from the cluster
  --state-dir DIR        where its sockets are (${STATE_DIR_DEFAULT})
  --trust-domain NAME    of the identities (${TRUST_DOMAIN_DEFAULT})
  --ca-dir DIR           certificate authority to use
  --proxies N            proxy processes
  --admin HOST:PORT      where the admin API listens (${ADMIN_DEFAULT})
  --keep-rules           leave the rules in place on exit (for an upgrade)
`

/** The list of verbs. */
export function renderUsage(verbs: readonly Verb[]): string {
  const rows = [
    ['agent', AGENT_SUMMARY],
    ...verbs.map(({ name, summary }) => [name, summary]),
    ['help [VERB]', 'this text, or a verb’s'],
    ['version', 'the version of weir'],
  ]
  const lines = rows.map(([name = '', summary = '']) => `  ${name.padEnd(13)}${summary}\n`)
  return `Usage: weir VERB [flags]\n\nVerbs:\n${lines.join('')}\nweir VERB --help shows the flags of a verb.\n`
}

export function renderVerbUsage(verb: Verb): string {
  const own = verb.optionHelp.map((line) => `  ${line}\n`).join('')
  const usage = verb.usage === '' ? '' : ` ${verb.usage}`
  return (
    `Usage: weir ${verb.name}${usage} [--json] [--state-dir DIR]\n\nShows ${verb.summary}.\n\nFlags:\n${own}` +
    `  --json                 print JSON\n` +
    `  --state-dir DIR        the agent's state directory (${STATE_DIR_DEFAULT})\n` +
    `\nExit codes: 0 all well, 1 something is wrong, 64 wrong usage, 69 the agent cannot be reached.\n`
  )
}
