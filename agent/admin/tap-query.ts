/** What a reader of /tap asks for; every mistake is told by the name of its parameter. */
import { isIP } from 'node:net'
import { isRedactedField, type ResponseFlag, TAP_TEXTS, type TapFilter } from '#contract'
import type { Snapshot } from '#mesh'
import { compileRegex } from '#routing'
import type { TapQuery } from './backend.ts'

const MAX_LIMIT = 1_000_000
const RATE_DEFAULT = 200
const MAX_RATE = 1_000
const MAX_TEXTS = 16
const MAX_CHARS = 512

/** All there are: a flag that is left out here is a mistake that the compiler finds. */
const FLAGS: Readonly<Record<ResponseFlag, true>> = {
  '-': true,
  RBAC: true,
  UH: true,
  UF: true,
  UC: true,
  UT: true,
  NR: true,
  DC: true,
  DPE: true,
  UPE: true,
  SI: true,
  UO: true,
  OM: true,
  DR: true,
  DI: true,
  FI: true,
  RL: true,
  BH: true,
  URX: true,
}

const PARAMETERS: ReadonlySet<string> = new Set(['end', ...TAP_TEXTS, 'header', 'headers'])

/** A text says what is wrong. `redact`: header fields of which the agent tells no value, besides the usual ones. */
export function parseTapQuery(
  parameters: URLSearchParams,
  snapshot: Snapshot,
  redact: readonly string[],
): TapQuery | string {
  for (const name of new Set(parameters.keys())) {
    if (!PARAMETERS.has(name)) return `Parameter ${name}: not known; there are ${[...PARAMETERS].join(', ')}`
    const values = parameters.getAll(name)
    if (values.length > (name === 'header' ? MAX_TEXTS : 1)) return `Parameter ${name}: given too often`
    if (values.some((value) => value.length > MAX_CHARS))
      return `Parameter ${name}: longer than ${MAX_CHARS} characters`
  }
  const value = (name: string) => parameters.get(name) ?? ''
  for (const name of ['end', 'from', 'to', 'service', 'namespace'] as const) {
    const wrong = value(name) === '' ? undefined : wrongName(name, value(name), snapshot)
    if (wrong !== undefined) return wrong
  }
  const regex = value('path-regex')
  // As it was written first: what is wrong is told of that.
  for (const pattern of regex === '' ? [] : [regex, `.*(?:${regex}).*`]) {
    const compiled = compileRegex(pattern)
    if (!compiled.ok) return `Parameter path-regex: ${compiled.error}`
  }
  const path = value('path')
  if (path !== '' && !path.startsWith('/')) {
    return `Parameter path: expected what a path begins with, such as /reviews, got ${JSON.stringify(path)}`
  }
  if (path.includes('?')) return 'Parameter path: without a query; those are not looked at'
  const statuses = parseStatuses(value('status'))
  if (typeof statuses === 'string') return statuses
  const flags = list(value('flags')).map((flag) => (flag === 'none' ? '-' : flag.toUpperCase()))
  const unknown = flags.find((flag) => !Object.hasOwn(FLAGS, flag))
  if (unknown !== undefined) {
    return `Parameter flags: no flag ${JSON.stringify(unknown)}; there are ${Object.keys(FLAGS).join(', ')}`
  }
  const methods = list(value('method')).map((method) => method.toUpperCase())
  if (!methods.every((method) => /^[!#$%&'*+.^_`|~0-9A-Z-]{1,32}$/.test(method))) {
    return `Parameter method: expected methods such as GET,POST, got ${JSON.stringify(value('method'))}`
  }
  const minDurationMs = value('min-duration') === '' ? 0 : durationMs(value('min-duration'))
  if (minDurationMs === undefined) {
    return `Parameter min-duration: expected a duration such as 250ms or 2s, got ${JSON.stringify(value('min-duration'))}`
  }
  const headers = parseHeaders(parameters.getAll('header'), redact)
  if (typeof headers === 'string') return headers
  if (!['', 'true', 'false'].includes(value('headers'))) return 'Parameter headers: expected true or false'
  const limit = value('limit') === '' ? 0 : numberUpTo(value('limit'), MAX_LIMIT)
  if (limit === undefined) return `Parameter limit: expected a number from 1 to ${MAX_LIMIT}`
  const maxPerSecond = value('rate') === '' ? RATE_DEFAULT : numberUpTo(value('rate'), MAX_RATE)
  if (maxPerSecond === undefined) return `Parameter rate: expected a number of events a second, from 1 to ${MAX_RATE}`
  const filter: TapFilter = {
    end: value('end'),
    from: value('from'),
    to: value('to'),
    namespace: value('namespace'),
    service: value('service'),
    methods,
    pathPrefix: path,
    pathRegex: regex,
    statuses,
    flags,
    minDurationMs,
    headers,
  }
  return { filter, showHeaders: value('headers') === 'true', limit, maxPerSecond }
}

/** A name that nothing has would be waited for in vain. */
function wrongName(parameter: string, text: string, snapshot: Snapshot): string | undefined {
  if (parameter === 'namespace') {
    return snapshot.namespace(text) === undefined && !isNamespaceOfPods(text, snapshot)
      ? `Parameter namespace: nothing is known of a namespace ${JSON.stringify(text)}`
      : undefined
  }
  if (parameter !== 'service') {
    const isAddress = isIP(text) !== 0 || isIP(text.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')) !== 0
    if (text === 'unknown' || text.startsWith('spiffe://') || isAddress) return undefined
    for (const { namespace, name, owner } of snapshot.workloads()) {
      if (isNamed(text, namespace, name) || isNamed(text, namespace, owner)) return undefined
    }
  }
  for (const { namespace, name } of snapshot.services()) {
    if (isNamed(text, namespace, name) || `${text}.`.startsWith(`${name}.${namespace}.`)) return undefined
  }
  if (snapshot.externalsOf(text).length > 0) return undefined
  const what = parameter === 'service' ? 'Service' : 'pod, workload or Service'
  const place = parameter === 'end' ? 'No' : `Parameter ${parameter}: no`
  return `${place} ${what} ${text} is known here; weir pods --all and weir routes tell what is`
}

function isNamespaceOfPods(text: string, snapshot: Snapshot): boolean {
  for (const { namespace } of snapshot.workloads()) if (namespace === text) return true
  return false
}

function isNamed(text: string, namespace: string, name: string): boolean {
  return text === name || text === `${namespace}/${name}`
}

/** `404`, `5xx`, `400-499`, `0` (not answered), separated by commas. */
function parseStatuses(text: string): TapFilter['statuses'] | string {
  const found: [number, number][] = []
  for (const part of list(text)) {
    const [, hundred] = /^([1-5])xx$/i.exec(part) ?? []
    const [, least, most = least] = /^(\d{1,3})(?:-(\d{1,3}))?$/.exec(part) ?? []
    if (hundred !== undefined) found.push([Number(hundred) * 100, Number(hundred) * 100 + 99])
    else if (least !== undefined && Number(least) <= Number(most)) found.push([Number(least), Number(most)])
    else
      return `Parameter status: expected such as 404, 5xx or 400-499, separated by commas, got ${JSON.stringify(part)}`
  }
  return found
}

function parseHeaders(texts: readonly string[], redact: readonly string[]): TapFilter['headers'] | string {
  const found: { name: string; value: string }[] = []
  for (const text of texts) {
    const equals = text.indexOf('=')
    const name = text.slice(0, Math.max(0, equals)).toLowerCase()
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]{1,128}$/.test(name)) {
      return `Parameter header: expected NAME=VALUE, got ${JSON.stringify(text)}`
    }
    // Whoever may ask for one value after the other knows it in the end.
    if (isRedactedField(name, redact)) return `Parameter header: ${name} is not shown, nor looked for`
    found.push({ name, value: text.slice(equals + 1) })
  }
  return found
}

function list(text: string): readonly string[] {
  return text === '' ? [] : text.split(',', MAX_TEXTS).map((part) => part.trim())
}

function numberUpTo(text: string, most: number): number | undefined {
  return /^\d{1,7}$/.test(text) && Number(text) >= 1 && Number(text) <= most ? Number(text) : undefined
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 }

function durationMs(text: string): number | undefined {
  const [, count, unit = ''] = /^(\d{1,7}(?:\.\d{1,3})?)(ms|s|m)$/.exec(text) ?? []
  return count === undefined ? undefined : Number(count) * (UNIT_MS[unit] ?? 0)
}
