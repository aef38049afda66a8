/** Objects that are refused, or not in force: routes with what they lead to, and all others. */
import type { Detected } from '../detected.ts'
import type { LookHistory } from '../look-history.ts'
import type { NodeLook, ProblemSample } from '../node-look.ts'
import { recentSum } from '../recent-traffic.ts'

const ROUTE = /^(?:HTTP|GRPC|TLS|TCP)Route /

export function detectObjects(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  // What a warning is about works, or refuses nothing.
  const byObject = Map.groupBy(
    last.problems.filter(({ severity }) => severity === 'error'),
    ({ object, place }) => (object === '' ? place : object),
  )
  return [...byObject].map(([subject, problems]) => {
    return ROUTE.test(subject) ? route(history, last, subject, problems) : object(history, last, subject, problems)
  })
}

function route(history: LookHistory, last: NodeLook, name: string, problems: readonly ProblemSample[]): Detected {
  const [first] = problems
  const services = last.world.servicesOf(name)
  const { failed } = recentSum(history, ({ edge }) => services.includes(edge.service), /^NR |^- 500$/)
  return {
    kind: 'invalid-route',
    severity: failed > 0 ? 'critical' : 'warning',
    subject: name,
    says: `${name} leads requests nowhere: ${first?.message ?? 'it is not valid'}`,
    evidence: [
      ...problems.slice(0, MAX_LINES).map(({ place, message }) => `${place}: ${message}`),
      ...(services.length === 0 ? [] : [`It decides for ${services.join(', ')}`]),
    ],
    next: 'weir routes',
    sinceMs: history.told('invalid-route', name)?.sinceMs ?? last.atMs,
    hurt: failed,
  }
}

function object(history: LookHistory, last: NodeLook, subject: string, problems: readonly ProblemSample[]): Detected {
  const [first] = problems
  return {
    kind: 'invalid-object',
    severity: 'warning',
    subject,
    says: `${subject} is not in force as it is written: ${first?.message ?? 'it is not valid'}`,
    evidence: problems.slice(0, MAX_LINES).map(({ place, message }) => `${place}: ${message}`),
    next: 'weir check',
    sinceMs: history.told('invalid-object', subject)?.sinceMs ?? last.atMs,
    hurt: 0,
  }
}

const MAX_LINES = 3
