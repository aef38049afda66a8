/** What the root namespace looks like, for showing that a lab leaves it alone. */
import { execFileSync } from 'node:child_process'

/** Interfaces, addresses, routes, rules and packet filters as text; equal texts, equal networks. */
export function rootNetwork(): string {
  const commands = [
    ['ip', '-o', 'link'],
    ['ip', '-o', 'addr'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', 'rule'],
    ['iptables-save'],
    ['ip6tables-save'],
  ]
  const texts = commands.map(([file = '', ...args]) => execFileSync(file, args, { encoding: 'utf8' }))
  // Counters, comments with the time, and lifetimes move by themselves.
  return texts.join('').replace(/^#.*\n|\[\d+:\d+\]|\d+sec/gm, '')
}
