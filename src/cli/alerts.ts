/** `weir alerts`: what fires, the rules in force, and whether somebody was told. */
import type { AlertAnswer, AlertDelivery, AlertsAnswer } from '#contract'
import { askJson, jsonOutput } from './ask-json.ts'
import { EXIT_OK } from './exit-code.ts'
import { printable, renderAge, renderTable } from './table.ts'
import type { Verb } from './verb.ts'

export const alertsVerb: Verb = {
  name: 'alerts',
  summary: 'what fires now, the rules in force, and whether somebody was told',
  usage: '',
  options: {},
  optionHelp: [],
  exitHelp: '0 told, also when something fires',
  async run({ ask, json, nowMs }) {
    const asked = await askJson<AlertsAnswer>(ask, '/alerts')
    if (asked.kind === 'failed') return asked.result
    return { exitCode: EXIT_OK, output: json ? jsonOutput(asked.value) : render(asked.value, nowMs) }
  },
}

function render(answer: AlertsAnswer, nowMs: number): string {
  const { node, file, readMs, rules, alerts, delivery } = answer
  if (file === '') return `Node ${node}: no rules of alerts. Give the agent a file with --alerts FILE.\n`
  if (readMs === 0)
    return `Node ${node}: no rules of alerts are in force, from ${file}. weir status tells if it is broken.\n`
  const read = `rules of ${file}, read ${renderAge(nowMs - readMs)} ago`
  const parts = [`${printable(`Node ${node}, ${read}. ${renderDelivery(delivery, nowMs)}`)}\n`]
  const fires = alerts.map((alert) => alertRow(alert, nowMs))
  parts.push(
    fires.length === 0
      ? 'Nothing fires.\n'
      : renderTable(['ALERT', 'SEVERITY', 'STATE', 'FOR', 'TOLD', 'WHAT', 'NEXT'], fires),
  )
  parts.push(
    renderTable(
      ['RULE', 'SEVERITY', 'FIRING', 'PENDING', 'LOOKS AT'],
      rules.map(({ name, severity, says, firing, pending }) => [name, severity, String(firing), String(pending), says]),
    ),
  )
  return parts.join('\n')
}

function alertRow({ rule, severity, state, sinceMs, told, summary, next }: AlertAnswer, nowMs: number) {
  return [rule, severity, state, renderAge(nowMs - sinceMs), told ? 'yes' : 'no', summary, next]
}

function renderDelivery(delivery: AlertDelivery | undefined, nowMs: number): string {
  if (delivery === undefined) return 'Nobody is told: the file has no webhook.'
  const { to, deliveredMs, waiting, problem, failingSinceMs } = delivery
  if (problem !== '') {
    return `Nothing reaches ${to} since ${renderAge(nowMs - failingSinceMs)}: ${problem}; ${waiting} to tell.`
  }
  return `Told to ${to}, ${deliveredMs === 0 ? 'never yet' : `last ${renderAge(nowMs - deliveredMs)} ago`}.`
}
