/**
 * `versioning` of a TrafficPolicy, strict: the versions of a Service's API, what tells them apart, and how older ones are
 * translated to the one that the Service speaks.
 */
import { TRANSLATION_BOUNDS } from '#contract'
import { type Issue, integer, list, type Output, object, oneOf, optional, refine, string, withDefault } from '#schema'
import { jsonPointer, jsonValue } from './json-pointer.ts'
import { checkHeaderName, checkHeaderValue } from './names.ts'
import { isPathText } from './route-match.ts'

const { names: NAMES, rules: RULES } = TRANSLATION_BOUNDS

const checkVersionName = (text: string): string | undefined =>
  /^[A-Za-z0-9](?:[-A-Za-z0-9._]{0,61}[A-Za-z0-9])?$/.test(text)
    ? undefined
    : `expected 1 to 63 letters, digits, -, . and _, got ${JSON.stringify(text)}`

const checkPrefix = (text: string): string | undefined =>
  isPathText(text) && !/\/\/|\/\.\.?(?:\/|$)/.test(text)
    ? undefined
    : `expected a path such as /v1, got ${JSON.stringify(text)}`

const MEDIA_TYPE =
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+\/[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:\s*;\s*[!#$%&'*+\-.^_`|~0-9A-Za-z]+=[!#$%&'*+\-.^_`|~0-9A-Za-z]+)*$/

function checkMediaType(text: string): string | undefined {
  if (!MEDIA_TYPE.test(text) || text.length > 256)
    return `expected a media type such as application/vnd.shop.v1+json or application/json; version=1, got ${JSON.stringify(text)}`
  if (text.split(';')[0]?.includes('*')) return `a range such as ${text} tells of no version: name one media type`
  return /;\s*q\s*=/i.test(text) ? 'q is a weight, not a part of a media type: remove it' : undefined
}

/** Fields that say how a message is framed, whose it is, or where it goes: no translation may write them. */
const NOT_OURS: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'expect',
  'set-cookie',
  'x-forwarded-client-cert',
])

function checkTranslatedHeader(text: string): string | undefined {
  const wrong = checkHeaderName(text)
  if (wrong !== undefined) return wrong
  const lower = text.toLowerCase()
  return NOT_OURS.has(lower) || lower.startsWith('x-weir-') ? `header ${text} cannot be translated` : undefined
}

const headerName = string(checkTranslatedHeader)
const parameterName = string((text) =>
  text.length < 1 || text.length > 256 ? `expected 1 to 256 characters, got ${text.length}` : undefined,
)
const parameterValue = string((text) =>
  text.length > 1024 ? `expected at most 1024 characters, got ${text.length}` : undefined,
)

const match = refine(
  object('strict', {
    pathPrefix: optional(string(checkPrefix)),
    header: optional(
      object('strict', { name: string(checkHeaderName, checkNoCookie), value: string(checkHeaderValue, checkTrimmed) }),
    ),
    mediaType: optional(string(checkMediaType)),
  }),
  (value, field, issues) => {
    if (Object.keys(value).length !== 1)
      issues.push({ field, message: 'needs exactly one of pathPrefix, header and mediaType' })
  },
)

function checkTrimmed(text: string): string | undefined {
  return text === text.trim() ? undefined : 'begins or ends with a space, which no header value does'
}

function checkNoCookie(text: string): string | undefined {
  const lower = text.toLowerCase()
  if (lower === 'accept' || lower === 'content-type') return `say mediaType instead of header ${text}`
  return lower.startsWith('x-weir-') ? `header ${text} is the mesh's own: clients cannot send it` : undefined
}

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/
const date = string((text) =>
  RFC3339.test(text) && !Number.isNaN(Date.parse(text))
    ? undefined
    : `expected a time such as 2026-12-31T00:00:00Z, got ${JSON.stringify(text)}`,
)

const deprecation = refine(
  object('strict', {
    since: optional(date),
    sunset: optional(date),
    link: optional(
      string((text) =>
        /^https?:\/\/[!#-;=?-Z_a-z~[\]]+$/.test(text) && text.length <= 1024
          ? undefined
          : `expected an http or https URL, got ${JSON.stringify(text)}`,
      ),
    ),
  }),
  ({ since, sunset, link }, field, issues) => {
    if (since === undefined && sunset === undefined && link === undefined)
      issues.push({ field, message: 'is empty: fill it or remove the field' })
    // RFC 9745 section 4.
    if (since !== undefined && sunset !== undefined && Date.parse(sunset) < Date.parse(since))
      issues.push({ field: `${field}.sunset`, message: `${sunset} is before since (${since}): it may not be` })
  },
)

const headers = refine(
  object('strict', {
    rename: withDefault(list(object('strict', { from: headerName, to: headerName }), { min: 1, max: NAMES }), []),
    set: withDefault(
      list(object('strict', { name: headerName, value: string(checkHeaderValue) }), { min: 1, max: NAMES }),
      [],
    ),
    replace: withDefault(
      list(object('strict', { name: headerName, value: string(checkHeaderValue) }), { min: 1, max: NAMES }),
      [],
    ),
    remove: withDefault(list(headerName, { min: 1, max: NAMES }), []),
  }),
  ({ rename, set, replace, remove }, field, issues) =>
    checkFilled(rename.length + set.length + replace.length + remove.length, field, issues),
)

const query = refine(
  object('strict', {
    rename: withDefault(list(object('strict', { from: parameterName, to: parameterName }), { min: 1, max: NAMES }), []),
    remove: withDefault(list(parameterName, { min: 1, max: NAMES }), []),
    default: withDefault(
      list(object('strict', { name: parameterName, value: parameterValue }), { min: 1, max: NAMES }),
      [],
    ),
  }),
  ({ rename, remove, default: defaults }, field, issues) =>
    checkFilled(rename.length + remove.length + defaults.length, field, issues),
)

function checkFilled(count: number, field: string, issues: Issue[]): void {
  if (count === 0) issues.push({ field, message: 'is empty: fill it or remove the field' })
}

const memberName = string((text) =>
  text.length > 256 ? `expected at most 256 characters, got ${text.length}` : undefined,
)

/** A place that is a member of an object. */
const member = refine(jsonPointer, (path, field, issues) => {
  if (path.at(-1) === null) issues.push({ field, message: 'ends in *: name a member of the elements' })
})

const move = refine(object('strict', { from: member, to: member }), ({ from, to }, field, issues) => {
  const anchored = from.lastIndexOf(null) + 1
  const same = from.slice(0, anchored).every((token, i) => token === to[i])
  if (!same || to.lastIndexOf(null) >= anchored) {
    const message = 'must be the same as from up to the last *: an element keeps what it has'
    issues.push({ field: `${field}.to`, message })
  } else if (from.length <= to.length && from.every((token, i) => token === to[i])) {
    issues.push({ field: `${field}.to`, message: 'is from, or within it: nothing can move into itself' })
  }
})

const bodyRule = refine(
  object('strict', {
    rename: optional(object('strict', { path: member, to: memberName })),
    move: optional(move),
    remove: optional(jsonPointer),
    default: optional(object('strict', { path: member, value: jsonValue })),
    set: optional(object('strict', { path: member, value: jsonValue })),
  }),
  (value, field, issues) => {
    if (Object.keys(value).length !== 1)
      issues.push({ field, message: 'needs exactly one of rename, move, remove, default and set' })
  },
)

const bodyRules = withDefault(list(bodyRule, { min: 1, max: RULES }), [])

const request = refine(
  object('strict', {
    paths: withDefault(
      list(object('strict', { prefix: string(checkPrefix), to: string(checkPrefix) }), {
        min: 1,
        max: TRANSLATION_BOUNDS.prefixes,
      }),
      [],
    ),
    query: optional(query),
    headers: optional(headers),
    body: bodyRules,
  }),
  ({ paths, query, headers, body }, field, issues) => {
    checkFilled(paths.length + body.length + (query || headers ? 1 : 0), field, issues)
    for (const [index, { prefix }] of paths.entries()) {
      if (paths.findIndex((other) => withoutSlash(other.prefix) === withoutSlash(prefix)) < index)
        issues.push({ field: `${field}.paths[${index}].prefix`, message: `${prefix} is there already: remove one` })
    }
  },
)

const response = refine(
  object('strict', { headers: optional(headers), body: bodyRules, errorBody: bodyRules }),
  ({ headers, body, errorBody }, field, issues) =>
    checkFilled(body.length + errorBody.length + (headers ? 1 : 0), field, issues),
)

const version = object('strict', {
  name: string(checkVersionName),
  match: withDefault(list(match, { min: 1, max: TRANSLATION_BOUNDS.matches }), []),
  deprecation: optional(deprecation),
  request: optional(request),
  response: optional(response),
})

export const versioningSchema = refine(
  object('strict', {
    default: optional(string(checkVersionName)),
    unknown: withDefault(oneOf('Pass', 'Refuse'), 'Pass' as const),
    maxBodyBytes: withDefault(integer(1024, TRANSLATION_BOUNDS.maxBodyBytes), TRANSLATION_BOUNDS.maxBodyBytesDefault),
    versions: list(version, { min: 1, max: TRANSLATION_BOUNDS.versions }),
  }),
  ({ default: named, versions }, field, issues) => {
    const seen = new Map<string, string>()
    for (const [index, { name, match: matches }] of versions.entries()) {
      const at = `${field}.versions[${index}]`
      if (versions.findIndex((other) => other.name === name) < index)
        issues.push({ field: `${at}.name`, message: `version ${name} is there already: names tell versions apart` })
      if (matches.length === 0 && name !== named)
        issues.push({ field: `${at}.match`, message: 'is missing: only the default version can go without' })
      for (const [place, one] of matches.entries()) {
        const key = keyOf(one)
        const other = seen.get(key)
        if (other !== undefined)
          issues.push({ field: `${at}.match[${place}]`, message: `tells of version ${other} already: remove one` })
        else seen.set(key, name)
      }
    }
    if (named !== undefined && !versions.some(({ name }) => name === named)) {
      const known = versions.map(({ name }) => name).join(', ')
      issues.push({ field: `${field}.default`, message: `there is no version ${named}: name one of ${known}` })
    }
  },
)

function keyOf({ pathPrefix, header, mediaType }: Output<typeof match>): string {
  if (pathPrefix !== undefined) return `path ${withoutSlash(pathPrefix)}`
  if (header !== undefined) return `header ${header.name.toLowerCase()} ${header.value}`
  return `type ${(mediaType ?? '').toLowerCase().replace(/\s/g, '').split(';').sort().join(';')}`
}

function withoutSlash(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}

export type VersioningSpec = Output<typeof versioningSchema>
