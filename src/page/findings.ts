/** What is wrong now, the worst first: a sentence, since when, the facts, and the next command. */
import type { AlertAnswer, DiagnoseAnswer, Finding } from '#contract'
import { h } from './element.ts'
import { ageText } from './format.ts'

export function findingKey({ kind, subject }: Finding): string {
  return `${kind} ${subject}`
}

/** How well it is known. */
export function lookedText({ looks, lookMs, windowMs }: DiagnoseAnswer): string {
  return looks < 2
    ? `Looked at once since the agent was started: what changes with time shows in ${ageText(lookMs)}.`
    : `Looked at every ${ageText(lookMs)}, for the last ${ageText(windowMs)}.`
}

export function renderFindings(findings: readonly Finding[], nowMs: number): HTMLElement {
  if (findings.length === 0) return h('p', { class: 'fine' }, 'Nothing is wrong that this agent can see.')
  return h('ol', { class: 'findings' }, ...findings.map((finding) => renderFinding(finding, nowMs)))
}

function renderFinding(finding: Finding, nowMs: number): HTMLElement {
  const { severity, kind, subject, says, evidence, next, sinceMs } = finding
  const facts = evidence.map((fact) => h('li', {}, fact))
  return h(
    'li',
    { class: `finding ${severity}`, 'data-key': findingKey(finding) },
    h('p', { class: 'says' }, h('strong', { class: 'severity' }, severity), ` ${says}`),
    h('p', { class: 'about' }, `${subject} · ${kind} · for ${ageText(nowMs - sinceMs)}`),
    ...(facts.length === 0 ? [] : [h('details', {}, h('summary', {}, 'Evidence'), h('ul', {}, ...facts))]),
    ...(next === '' ? [] : [h('p', { class: 'next' }, 'Next: ', h('code', {}, next))]),
  )
}

/** Alerts of the rules that somebody wrote, as far as they fire. */
export function renderAlerts(alerts: readonly AlertAnswer[], nowMs: number): readonly HTMLElement[] {
  const firing = alerts.filter(({ state }) => state !== 'pending')
  if (firing.length === 0) return []
  const lines = firing.map(({ rule, severity, labels, summary, next, sinceMs, told, state }) => {
    const about = Object.entries(labels).filter(([name]) => name !== 'alertname' && name !== 'severity')
    const facts = [rule, ...about.map(([name, value]) => `${name}=${value}`), `for ${ageText(nowMs - sinceMs)}`]
    return h(
      'li',
      { class: `finding ${severity}`, 'data-key': JSON.stringify(labels) },
      h('p', { class: 'says' }, h('strong', { class: 'severity' }, severity), ` ${summary}`),
      h('p', { class: 'about' }, [...facts, state, ...(told ? ['receiver told'] : [])].join(' · ')),
      ...(next === '' ? [] : [h('p', { class: 'next' }, 'Next: ', h('code', {}, next))]),
    )
  })
  return [h('h2', {}, 'Alerts'), h('ol', { class: 'findings' }, ...lines)]
}

/** `2 critical, 1 warning`; empty when nothing is wrong. */
export function countFindings(findings: readonly Finding[]): string {
  const counts = (['critical', 'warning', 'info'] as const).map((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length
    return count === 0 ? '' : `${count} ${severity === 'info' ? 'to know' : severity}`
  })
  return counts.filter((text) => text !== '').join(', ')
}

/** What has come since: for those who do not look. */
export function newFindings(before: ReadonlySet<string>, findings: readonly Finding[]): string {
  const fresh = findings.filter((finding) => !before.has(findingKey(finding)))
  return fresh.map(({ severity, says }) => `${severity}: ${says}`).join('. ')
}
