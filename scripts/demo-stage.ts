/** What the demos have in common: how they talk, how they check themselves, the shop's server, `--keep`. */
import type { LabPod } from '../test/support/lab.ts'
import type { LabAgent } from '../test/support/lab-agent.ts'

const bold = (text: string): string => (process.stdout.isTTY ? `\x1b[1m${text}\x1b[0m` : text)
let steps = 0

export function step(title: string): void {
  console.log(`\n${bold(`${++steps}. ${title}`)}`)
}

export function say(text: string): void {
  console.log(text.replace(/^/gm, '   '))
}

export function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`The demo did not go as it should: ${what}`)
}

/** A shop server: says who it is and who called it, and asks its own upstream if it has one. */
export const SERVER = `
  import { createServer } from 'node:http'
  const [name, next] = process.argv.slice(1)
  createServer(async (request, response) => {
    const caller = request.headers['x-forwarded-client-cert']?.match(/URI=(\\S+)/)?.[1] ?? 'nobody known'
    let text = name + ' (called by ' + caller + ')'
    if (next) {
      const headers = request.headers['x-canary'] ? { 'x-canary': request.headers['x-canary'] } : {}
      const answer = await fetch(next, { headers }).then((r) => r.text().then((body) => r.ok ? body : r.status + ' ' + body), (e) => String(e.cause ?? e))
      text += ' -> ' + answer.trim()
    }
    response.end(text + '\\n')
  }).listen(8080, '::', () => console.log('listening'))
`

/** Shows the command and what came back: status and body. */
export async function curl(pod: LabPod, url: string, args: readonly string[] = []): Promise<string> {
  say(
    `${pod.name}$ curl ${[...args, url].map((arg) => (/[ :]/.test(arg) && arg !== url ? `'${arg}'` : arg)).join(' ')}`,
  )
  const { status, body } = await pod.curl(url, args)
  say(`${status} ${body.trim()}`)
  return `${status} ${body.trim()}`
}

export async function rulesOf(pod: LabPod): Promise<string> {
  const { stdout } = await pod.exec('iptables-save')
  return stdout.replace(/^#.*$/gm, '').replace(/\[\d+:\d+\]/g, '')
}

/** Ends the agents, and makes sure that they leave nothing in the pod. */
export async function cleanUp(agents: readonly LabAgent[], pod: LabPod, rulesBefore: string): Promise<void> {
  step('Clean-up')
  const codes = await Promise.all(agents.map((agent) => agent.stop()))
  const clean = codes.every((code) => code === 0) && (await rulesOf(pod)) === rulesBefore
  check(clean, 'the agent leaves no rule behind')
  const who = agents.length === 1 ? 'The agent' : 'The agents'
  say(`${who} ended with 0 and left the rules of every pod as they were.`)
}

/** Shows what there is to play with, and waits for Ctrl-C. */
export async function keepUntilInterrupted(text: string): Promise<void> {
  console.log(`\n${text}\nCtrl-C ends and removes it.`)
  const { promise, resolve } = Promise.withResolvers<void>()
  // The first one ends the waiting, and not at once the lab, so that the agents can end as they should.
  const held = (['SIGINT', 'SIGTERM'] as const).map((signal) => {
    const listeners = process.rawListeners(signal)
    process.removeAllListeners(signal)
    process.once(signal, () => resolve())
    return { signal, listeners }
  })
  const alive = setInterval(() => {}, 1 << 30)
  await promise
  clearInterval(alive)
  for (const { signal, listeners } of held) {
    process.removeAllListeners(signal)
    for (const listener of listeners) process.on(signal, listener as NodeJS.SignalsListener)
  }
}
