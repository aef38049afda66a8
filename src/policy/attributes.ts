/**
 * How each attribute of a policy is compared. An attribute the peer lacks is known to be absent: no
 * value matches it and every `not` form does (as istio/ztunnel src/rbac.rs: `not_principals` and
 * `not_namespaces` match a plain-text connection). That differs from one that cannot be evaluated, which is UNSURE.
 */
import type { FieldCompiler } from './check.ts'
import { blockContains, type IpAddress, type IpBlock, parseIpBlock } from './ip-block.ts'
import { PathPatterns } from './path-patterns.ts'
import type { Subject } from './subject.ts'
import { TextPatterns } from './text-patterns.ts'
import { NO, type Truth, UNSURE, YES } from './truth.ts'

/** Scheme of SPIFFE IDs. */
const SPIFFE_PREFIX = 'spiffe://'

function answer(patterns: TextPatterns, text: string | undefined): Truth {
  if (text !== undefined && patterns.matches(text)) return YES
  return patterns.doubtful ? UNSURE : NO
}

/** Values of an attribute that never contains `*`: one with a `*` inside is a mistake and never compiles. */
function namePatterns(values: readonly string[]): TextPatterns {
  const good = values.filter((value) => !/.\*./s.test(value) && !/^\*.*\*$/s.test(value))
  return new TextPatterns(good, good.length < values.length)
}

/** Policies write principals without `spiffe://`; with it is accepted too. */
export const principals: FieldCompiler = (values) => {
  const patterns = namePatterns(
    values.map((value) => (value.startsWith(SPIFFE_PREFIX) ? value.slice(SPIFFE_PREFIX.length) : value)),
  )
  return ({ connection }) => answer(patterns, connection.source?.principal)
}

export const namespaces: FieldCompiler = (values) => {
  const patterns = namePatterns(values)
  return ({ connection }) => answer(patterns, connection.source?.namespace)
}

/**
 * `namespace/name`, or `name` for one in the policy's own namespace; no wildcards
 * (istio pilot/pkg/security/authz/model/generator.go `serviceAccountRegex`).
 */
export function serviceAccounts(policyNamespace: string): FieldCompiler {
  return (values) => {
    const names = new Map<string, Set<string>>()
    let doubtful = false
    for (const value of values) {
      const [first = '', second, ...more] = value.split('/')
      const namespace = second === undefined ? policyNamespace : first
      const name = second ?? first
      if (value.includes('*') || more.length > 0 || namespace === '' || name === '') doubtful = true
      else names.set(namespace, (names.get(namespace) ?? new Set()).add(name))
    }
    const miss = doubtful ? UNSURE : NO
    return ({ connection: { source } }) =>
      source !== undefined && names.get(source.namespace)?.has(source.serviceAccount) === true ? YES : miss
  }
}

function ipBlocks(values: readonly string[], pick: (subject: Subject) => IpAddress): (subject: Subject) => Truth {
  const blocks: IpBlock[] = []
  for (const value of values) {
    const block = parseIpBlock(value)
    if (block !== undefined) blocks.push(block)
  }
  const miss = blocks.length < values.length ? UNSURE : NO
  return (subject) => {
    const address = pick(subject)
    if (address.family === 0) return UNSURE
    for (const block of blocks) if (blockContains(block, address)) return YES
    return miss
  }
}

/**
 * Also for `remoteIpBlocks` and `remote.ip`: x-forwarded-for is written by whoever sends the request,
 * so inside the mesh the remote address is the connection's.
 */
export const sourceIps: FieldCompiler = (values) => ipBlocks(values, (subject) => subject.sourceIp)
export const destinationIps: FieldCompiler = (values) => ipBlocks(values, (subject) => subject.destinationIp)

export const destinationPorts: FieldCompiler = (values) => {
  const good = values.filter((value) => /^\d{1,5}$/.test(value) && Number(value) <= 65535)
  const ports: ReadonlySet<number> = new Set(good.map(Number))
  const miss = good.length < values.length ? UNSURE : NO
  return ({ connection }) => (ports.has(connection.destinationPort) ? YES : miss)
}

/** Case-sensitive (RFC 9110 section 9.1). */
export const methods: FieldCompiler = (values) => {
  const patterns = new TextPatterns(values)
  return ({ http }) => (http === undefined ? UNSURE : answer(patterns, http.method))
}

export const paths: FieldCompiler = (values) => {
  const patterns = new PathPatterns(values)
  return (subject) => {
    const readings = subject.paths
    return readings === undefined ? UNSURE : patterns.judge(readings)
  }
}

/** Without port and without the root's dot: `[::1]:80` → `[::1]`, `web.:80` → `web`. */
function bareHost(authority: string): string {
  const colon = authority.lastIndexOf(':')
  const host = colon > authority.lastIndexOf(']') ? authority.slice(0, colon) : authority
  return host.endsWith('.') ? host.slice(0, -1) : host
}

/**
 * Case-insensitive (istio pilot/pkg/security/authz/matcher/header.go `HostMatcher`). A value is compared
 * with the authority as sent, so that `web:8080` and `web:*` work, and with the bare host. Istio compares
 * only the former and asks for both `web` and `web:*` to be written; a forgotten one would let
 * `Host: web:80` past a DENY. The port that counts is the connection's: use `ports`.
 */
export const hosts: FieldCompiler = (values) => {
  const patterns = new TextPatterns(values.map((value) => value.toLowerCase()))
  return ({ http }) => {
    if (http === undefined) return UNSURE
    const authority = http.authority.toLowerCase()
    if (patterns.matches(authority)) return YES
    return answer(patterns, bareHost(authority))
  }
}

/**
 * `request.headers[name]`. Several lines of one name are joined; some servers read only the first or the
 * last, so a match of one element of the list where the whole does not match is UNSURE.
 */
export function headers(name: string): FieldCompiler {
  const lowerCaseName = name.toLowerCase()
  return (values) => {
    const patterns = new TextPatterns(values)
    return ({ http }) => {
      if (http === undefined) return UNSURE
      const value = http.header(lowerCaseName)
      if (value === undefined) return NO
      if (patterns.presence || patterns.matches(value)) return YES
      return value.includes(',') && value.split(',').some((part) => patterns.matches(part.trim())) ? UNSURE : NO
    }
  }
}

/** `requestPrincipals`, `request.auth.*`: without a verified token the request has none of these. */
export const absentFromRequest: FieldCompiler = () => (subject) => (subject.http === undefined ? UNSURE : NO)

/**
 * `connection.sni`: of the TLS that the application speaks, without regard to case. A name that is not certain is
 * UNSURE, so that no ALLOW rule matches it and any DENY rule may.
 */
export const serverNames: FieldCompiler = (values) => {
  const patterns = namePatterns(values.map((value) => value.toLowerCase()))
  return ({ connection: { sni } }) => (sni === null ? UNSURE : answer(patterns, sni === '' ? undefined : sni))
}
