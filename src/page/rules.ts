/** Routes and policies in force, and objects that are not, with the reason. */
import type { ProblemAnswer, RouteAnswer } from '#contract'
import { h } from './element.ts'
import type { AnyPolicyAnswer } from './policy-answer.ts'
import { type Row, renderTable } from './table.ts'

export function renderProblems(problems: readonly ProblemAnswer[]): HTMLElement {
  if (problems.length === 0) return h('p', { class: 'fine' }, 'No object is refused, no pod left out.')
  const rows = problems.map(({ severity, subject, message, remedy }, at): Row => {
    return {
      key: String(at),
      cells: [subject, severity, remedy === '' ? message : `${message}; ${remedy}`],
      ...(severity === 'error' ? { mood: 'bad' as const } : {}),
    }
  })
  return renderTable('Problems', [{ head: 'Object' }, { head: 'Severity' }, { head: 'Problem' }], rows)
}

export function renderRoutes(routes: readonly RouteAnswer[]): HTMLElement {
  const rows = routes.flatMap((route) => {
    const name = `${route.namespace}/${route.name}`
    const shared = [name, route.kind, [...route.parents, ...route.hostnames].join(', ')]
    if (route.invalid !== '') {
      return [{ key: name, cells: [...shared, '-', '-', `invalid: ${route.invalid}`], mood: 'bad' as const }]
    }
    return route.rules.map((rule, at): Row => {
      const broken = rule.backends.some(({ invalid }) => invalid !== undefined)
      const cells = [...shared, rule.name ?? `rule ${at + 1}`, matchText(rule.matches), backendText(rule.backends)]
      return { key: `${name} ${at}`, cells, ...(broken ? { mood: 'bad' as const } : {}) }
    })
  })
  if (rows.length === 0) return h('p', { class: 'dim' }, 'No routes.')
  return renderTable(
    'Routes',
    ['Route', 'Kind', 'Of', 'Rule', 'Matches', 'Backends'].map((head) => ({ head })),
    rows,
  )
}

function matchText(matches: RouteAnswer['rules'][number]['matches']): string {
  const texts = matches.map(
    ({ method, path }) => `${method === undefined ? '' : `${method} `}${path.type} ${path.value}`,
  )
  return texts.join(', ') || 'everything'
}

function backendText(backends: RouteAnswer['rules'][number]['backends']): string {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0)
  const texts = backends.map(({ weight, service, invalid }) => {
    const share = total === 0 ? 0 : Math.round((100 * weight) / total)
    const why = invalid === undefined ? '' : ` (invalid: ${invalid})`
    return `${service.namespace}/${service.name}:${service.port} ${share} %${why}`
  })
  return texts.join(', ') || '-'
}

export function renderPolicies(policies: readonly AnyPolicyAnswer[]): HTMLElement {
  if (policies.length === 0) return h('p', { class: 'dim' }, 'No policies.')
  const rows = policies.map((policy): Row => {
    const { kind, namespace, name, invalid = '' } = policy
    const key = `${kind} ${namespace}/${name}`
    const cells = [`${namespace}/${name}`, kind, effectText(policy), scopeText(policy), invalid]
    return { key, cells, ...(invalid === '' ? {} : { mood: 'bad' as const }) }
  })
  return renderTable(
    'Policies',
    ['Policy', 'Kind', 'Says', 'For', 'Invalid because'].map((head) => ({ head })),
    rows,
  )
}

function effectText({ action, mode, rules, says = [] }: AnyPolicyAnswer): string {
  if (action !== undefined)
    return `${action}${rules === undefined ? '' : `, ${rules} ${rules === 1 ? 'rule' : 'rules'}`}`
  return mode ?? says.join(', ')
}

function scopeText({ scope = '', selector = {}, services = [] }: AnyPolicyAnswer): string {
  const labels = Object.entries(selector).map(([name, value]) => `${name}=${value}`)
  return [scope, ...labels, ...services].filter((text) => text !== '').join(' ') || '-'
}
