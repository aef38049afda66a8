/**
 * Checks of the values in Istio's security policies. Stricter than Istio where a mistake would silently never
 * match: a `*` in the middle of a value is refused, as no reader of the policy could mean it literally.
 */
import { canonicalCidr } from './address.ts'

/** Exact, `prefix*`, `*suffix` or `*`. */
export function checkWildcard(text: string): string | undefined {
  if (text === '') return 'is empty'
  const inner = text === '*' ? '' : text.startsWith('*') ? text.slice(1) : text.endsWith('*') ? text.slice(0, -1) : text
  if (!inner.includes('*')) return undefined
  return `a * may stand only once, at the beginning or at the end, got ${JSON.stringify(text)}`
}

export function checkPrincipal(text: string): string | undefined {
  if (text.startsWith('spiffe://')) return `principals are written without spiffe://, got ${JSON.stringify(text)}`
  return checkWildcard(text)
}

/** `NAME` or `NAMESPACE/NAME`, without wildcards. */
export function checkServiceAccount(text: string): string | undefined {
  if (text.includes('*')) return `a service account knows no wildcards: use principals, got ${JSON.stringify(text)}`
  const parts = text.split('/')
  if (parts.length <= 2 && parts.every((part) => part !== '')) return undefined
  return `expected NAME or NAMESPACE/NAME, got ${JSON.stringify(text)}`
}

/** An address or a CIDR block, IPv4 or IPv6. */
export function checkIpBlock(text: string): string | undefined {
  if (canonicalCidr(text) !== undefined) return undefined
  return `expected an IP address or CIDR block such as 10.0.0.0/8, got ${JSON.stringify(text)}`
}

export function checkPortText(text: string): string | undefined {
  if (/^[1-9][0-9]{0,4}$/.test(text) && Number(text) <= 65535) return undefined
  return `expected a port from 1 to 65535, got ${JSON.stringify(text)}`
}

/** A method as a token with at most one `*` at an end. */
export function checkMethod(text: string): string | undefined {
  return (
    checkWildcard(text) ??
    (/^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/.test(text) ? undefined : `expected a method, got ${JSON.stringify(text)}`)
  )
}

/**
 * A wildcard pattern, or a template in which `{*}` stands for one segment and `{**}` for any number of them.
 * In a template an operator is a whole segment, `{**}` is the last operator, and there are no other wildcards.
 */
export function checkPath(text: string): string | undefined {
  const got = `got ${JSON.stringify(text)}`
  if (text === '') return 'is empty'
  if (!text.includes('{*}') && !text.includes('{**}')) {
    return checkWildcard(text) === undefined
      ? undefined
      : `a * may stand only once, at the beginning or at the end; for one path segment write {*}, ${got}`
  }
  if (!text.startsWith('/')) return `a path template begins with /, ${got}`
  let last = false
  for (const segment of text.split('/')) {
    if (segment === '{*}' || segment === '{**}') {
      if (last) return `{**} must be the last operator of a path template, ${got}`
      last = segment === '{**}'
    } else if (/[*{}]/.test(segment)) {
      return `in a path template {*} and {**} are whole segments and the only wildcards, ${got}`
    }
  }
  return undefined
}

/** The attributes that a condition may judge, each with the check of its values. */
const ATTRIBUTES: Readonly<Record<string, (text: string) => string | undefined>> = {
  'source.ip': checkIpBlock,
  'remote.ip': checkIpBlock,
  'source.namespace': checkWildcard,
  'source.principal': checkPrincipal,
  'source.serviceAccount': checkServiceAccount,
  'request.auth.principal': checkWildcard,
  'request.auth.audiences': checkWildcard,
  'request.auth.presenter': checkWildcard,
  'destination.ip': checkIpBlock,
  'destination.port': checkPortText,
  'connection.sni': checkWildcard,
}
export const CONDITION_KEYS: readonly string[] = [
  ...Object.keys(ATTRIBUTES),
  'request.headers[NAME]',
  'request.auth.claims[NAME]',
]

/** Attributes of older Istio versions, each with what took its place. */
const REPLACED: Readonly<Record<string, string>> = {
  'destination.namespace': 'put the policy into that namespace instead',
  'destination.labels': 'use spec.selector instead',
  'destination.name': 'use spec.selector or spec.targetRefs instead',
  'destination.user': 'use spec.selector instead',
}

/** The check of a condition's values, or why its key is none. */
export function conditionCheck(key: string): { values: (text: string) => string | undefined } | { wrong: string } {
  const attribute = Object.hasOwn(ATTRIBUTES, key) ? ATTRIBUTES[key] : undefined
  if (attribute !== undefined) return { values: attribute }
  const bracket = key.indexOf('[')
  const base = bracket < 0 ? key : key.slice(0, bracket)
  if (base === 'request.headers') {
    if (/^request\.headers\[[A-Za-z0-9!#$%&'*+\-.^_`|~]+\]$/.test(key)) return { values: checkWildcard }
    return { wrong: `expected request.headers[NAME] with a header name, got ${JSON.stringify(key)}` }
  }
  if (base === 'request.auth.claims') {
    if (/^request\.auth\.claims(\[[^[\]]+\])+$/.test(key)) return { values: checkWildcard }
    return { wrong: `expected request.auth.claims[NAME], got ${JSON.stringify(key)}` }
  }
  const replaced = Object.hasOwn(REPLACED, base) ? REPLACED[base] : undefined
  if (replaced !== undefined) return { wrong: `${base} is not supported: ${replaced}` }
  return { wrong: `unknown attribute ${JSON.stringify(key)}: known are ${CONDITION_KEYS.join(', ')}` }
}
