/** What all nodes tell, as if it were one: findings and alerts one after the other, the worst first, and traffic added up. Pure. */
import type { AlertsAnswer, DiagnoseAnswer, FindingSeverity, MetricFamily, TrafficAnswer } from '#contract'

/** In place of a node's name. */
export const ALL_NODES = '*'

const RANK: Readonly<Record<FindingSeverity, number>> = { critical: 0, warning: 1, info: 2 }

/** What each found, with the node in what it is about. */
export function joinFindings(answers: readonly (readonly [node: string, answer: DiagnoseAnswer])[]): DiagnoseAnswer {
  const findings = answers.flatMap(([node, answer]) =>
    answer.findings.map((finding) => ({ ...finding, subject: `${finding.subject} (${node})` })),
  )
  return {
    node: ALL_NODES,
    atMs: Math.min(...answers.map(([, { atMs }]) => atMs)),
    windowMs: Math.max(0, ...answers.map(([, { windowMs }]) => windowMs)),
    looks: Math.min(...answers.map(([, { looks }]) => looks)),
    lookMs: Math.max(0, ...answers.map(([, { lookMs }]) => lookMs)),
    findings: findings.toSorted((a, b) => RANK[a.severity] - RANK[b.severity]),
  }
}

export function joinAlerts(answers: readonly AlertsAnswer[]): Pick<AlertsAnswer, 'alerts'> {
  return {
    alerts: answers
      .flatMap(({ alerts, node }) => alerts.map((alert) => ({ ...alert, labels: { ...alert.labels, node } })))
      .toSorted((a, b) => RANK[a.severity] - RANK[b.severity]),
  }
}

/** Nodes count apart: each series says of which it is, so that none is taken for another's. */
export function addTraffic(answers: ReadonlyMap<string, TrafficAnswer>, atMs: number): TrafficAnswer {
  const families = new Map<string, MetricFamily>()
  for (const [node, answer] of answers) {
    for (const family of answer.families) {
      const series = family.series.map(({ labels, values }) => ({ labels: { ...labels, node }, values }))
      const known = families.get(family.name)
      families.set(family.name, { ...family, series: [...(known?.series ?? []), ...series] })
    }
  }
  return { node: [...answers.keys()].toSorted().join(' '), atMs, families: [...families.values()] }
}
