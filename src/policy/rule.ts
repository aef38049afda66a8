/**
 * A rule, compiled: `from`, `to` and `when` are AND-ed, the entries of `from` and of `to` OR-ed, the
 * fields of an entry AND-ed. What Istio's validation refuses (an entry without a field, an empty list of
 * entries, a condition without values, an unknown key) is UNSURE here, and so fails closed even unvalidated.
 */
import type { AuthorizationCondition, AuthorizationOperation, AuthorizationRule, AuthorizationSource } from '#contract'
import {
  absentFromRequest,
  destinationIps,
  destinationPorts,
  headers,
  hosts,
  methods,
  namespaces,
  paths,
  principals,
  serverNames,
  serviceAccounts,
  sourceIps,
} from './attributes.ts'
import { type Check, type CheckNeeds, doubtfulCheck, type FieldCompiler, fieldChecks } from './check.ts'
import type { Subject } from './subject.ts'
import { NO, type Truth, YES } from './truth.ts'

/** The alternatives of `from`, `to` or `when` (`when` has one): one must hold, by all of its checks. */
export interface Clause {
  readonly name: 'from' | 'to' | 'when'
  readonly entries: readonly (readonly Check[])[]
}

export interface CompiledRule {
  /** Empty for the rule `{}`, which matches everything. */
  readonly clauses: readonly Clause[]
}

function sourceChecks(source: AuthorizationSource, policyNamespace: string): readonly Check[] {
  const into: Check[] = []
  const field = (
    name: string,
    needs: CheckNeeds,
    compile: FieldCompiler,
    values: readonly string[] | undefined,
    notValues: readonly string[] | undefined,
  ): void => fieldChecks(into, name, needs, compile, values, notName(name), notValues)
  field('principals', 'connection', principals, source.principals, source.notPrincipals)
  field('namespaces', 'connection', namespaces, source.namespaces, source.notNamespaces)
  const accounts = serviceAccounts(policyNamespace)
  field('serviceAccounts', 'connection', accounts, source.serviceAccounts, source.notServiceAccounts)
  field('ipBlocks', 'connection', sourceIps, source.ipBlocks, source.notIpBlocks)
  field('remoteIpBlocks', 'connection', sourceIps, source.remoteIpBlocks, source.notRemoteIpBlocks)
  field('requestPrincipals', 'request', absentFromRequest, source.requestPrincipals, source.notRequestPrincipals)
  return entry(into, 'source')
}

function operationChecks(operation: AuthorizationOperation): readonly Check[] {
  const into: Check[] = []
  fieldChecks(into, 'ports', 'connection', destinationPorts, operation.ports, 'notPorts', operation.notPorts)
  fieldChecks(into, 'methods', 'request', methods, operation.methods, 'notMethods', operation.notMethods)
  fieldChecks(into, 'hosts', 'request', hosts, operation.hosts, 'notHosts', operation.notHosts)
  fieldChecks(into, 'paths', 'path', paths, operation.paths, 'notPaths', operation.notPaths)
  return entry(into, 'operation')
}

function notName(name: string): string {
  return `not${name.charAt(0).toUpperCase()}${name.slice(1)}`
}

function entry(checks: readonly Check[], what: string): readonly Check[] {
  return Object.freeze(checks.length > 0 ? checks : [doubtfulCheck(what, 'it has no field')])
}

const CONDITIONS: ReadonlyMap<string, readonly [CheckNeeds, FieldCompiler]> = new Map([
  ['source.ip', ['connection', sourceIps]],
  ['remote.ip', ['connection', sourceIps]],
  ['source.namespace', ['connection', namespaces]],
  ['source.principal', ['connection', principals]],
  ['destination.ip', ['connection', destinationIps]],
  ['destination.port', ['connection', destinationPorts]],
  ['connection.sni', ['sni', serverNames]],
  ['request.auth.principal', ['request', absentFromRequest]],
  ['request.auth.audiences', ['request', absentFromRequest]],
  ['request.auth.presenter', ['request', absentFromRequest]],
])

const HEADER_KEY = /^request\.headers\[([^\]]+)\]$/
const CLAIM_KEY = /^request\.auth\.claims(?:\[[^\]]+\])+$/

function conditionCompiler(key: string, policyNamespace: string): readonly [CheckNeeds, FieldCompiler] | undefined {
  if (key === 'source.serviceAccount') return ['connection', serviceAccounts(policyNamespace)]
  const header = HEADER_KEY.exec(key)?.[1]
  if (header === ':authority') return ['request', hosts]
  if (header === ':method') return ['request', methods]
  if (header !== undefined && !header.startsWith(':')) return ['request', headers(header)]
  return CLAIM_KEY.test(key) ? ['request', absentFromRequest] : CONDITIONS.get(key)
}

function conditionChecks(into: Check[], condition: AuthorizationCondition, policyNamespace: string): void {
  const { key, values, notValues } = condition
  const compiler = conditionCompiler(key, policyNamespace)
  if (compiler === undefined) {
    into.push(doubtfulCheck(`key ${key}`, 'the attribute is not known'))
    return
  }
  const before = into.length
  const [needs, compile] = compiler
  fieldChecks(into, `${key} values`, needs, compile, values, `${key} notValues`, notValues)
  if (into.length === before) into.push(doubtfulCheck(`key ${key}`, 'it has neither values nor notValues'))
}

/** Compiles once; judging allocates nothing. */
export function compileRule(rule: AuthorizationRule, policyNamespace: string): CompiledRule {
  const clauses: Clause[] = []
  if (rule.from !== undefined) {
    clauses.push(
      clause(
        'from',
        rule.from.map((source) => sourceChecks(source, policyNamespace)),
      ),
    )
  }
  if (rule.to !== undefined) clauses.push(clause('to', rule.to.map(operationChecks)))
  if (rule.when !== undefined && rule.when.length > 0) {
    const checks: Check[] = []
    for (const condition of rule.when) conditionChecks(checks, condition, policyNamespace)
    clauses.push(clause('when', [Object.freeze(checks)]))
  }
  return Object.freeze({ clauses: Object.freeze(clauses) })
}

function clause(name: Clause['name'], entries: readonly (readonly Check[])[]): Clause {
  const alternatives = entries.length > 0 ? entries : [[doubtfulCheck(name, 'the list is empty')]]
  return Object.freeze({ name, entries: Object.freeze(alternatives) })
}

/** The least certain of an entry's checks. */
export function judgeEntry(checks: readonly Check[], subject: Subject): Truth {
  let truth: Truth = YES
  for (const check of checks) {
    const one = check.judge(subject)
    if (one < truth) truth = one
    if (truth === NO) break
  }
  return truth
}

/** The most certain of a clause's entries. */
export function judgeClause(clause: Clause, subject: Subject): Truth {
  let truth: Truth = NO
  for (const checks of clause.entries) {
    const one = judgeEntry(checks, subject)
    if (one > truth) truth = one
    if (truth === YES) break
  }
  return truth
}

export function judgeRule(rule: CompiledRule, subject: Subject): Truth {
  let truth: Truth = YES
  for (const clause of rule.clauses) {
    const one = judgeClause(clause, subject)
    if (one < truth) truth = one
    if (truth === NO) break
  }
  return truth
}
