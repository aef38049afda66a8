/** What is wrong now, the worst first: a sentence, since when, the facts, and the next command. */
import type { Finding } from '#contract'
import { h } from './element.ts'
import { ageText } from './format.ts'

export function findingKey({ kind, subject }: Finding): string {
  return `${kind} ${subject}`
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

/** What has come since: for those who do not look. */
export function newFindings(before: ReadonlySet<string>, findings: readonly Finding[]): string {
  const fresh = findings.filter((finding) => !before.has(findingKey(finding)))
  return fresh.map(({ severity, says }) => `${severity}: ${says}`).join('. ')
}
