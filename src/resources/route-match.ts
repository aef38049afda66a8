/** The matches of an HTTPRoute (Gateway API v1): path, headers, query parameters and method, AND-ed. */
import { isMeshFact, isMeshName, MESH_FACT_NAMES } from '#contract'
import { type Issue, list, type Output, object, oneOf, optional, refine, string, withDefault } from '#schema'
import { checkHeaderName, checkRegularExpression } from './names.ts'

const PATH_CHARACTERS = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/
const MAX_PATH = 1024

/** An absolute path in the characters that RFC 3986 allows in one. */
export function isPathText(text: string): boolean {
  return text.startsWith('/') && text.length <= MAX_PATH && PATH_CHARACTERS.test(text)
}

const pathMatch = refine(
  object('strict', {
    type: withDefault(oneOf('Exact', 'PathPrefix', 'RegularExpression'), 'PathPrefix'),
    value: withDefault(
      string((text) =>
        text.length > MAX_PATH ? `has ${text.length} characters, at most ${MAX_PATH} are allowed` : undefined,
      ),
      '/',
    ),
  }),
  ({ type, value }, field, issues) => {
    const wrong = type === 'RegularExpression' ? checkRegularExpression(value) : checkPathValue(value)
    if (wrong !== undefined) issues.push({ field: `${field}.value`, message: wrong })
  },
)

/** What the specification forbids in a path to match: none of it survives normalisation, so it never matches. */
function checkPathValue(value: string): string | undefined {
  const got = `got ${JSON.stringify(value)}`
  if (!value.startsWith('/')) return `a path begins with /, ${got}`
  for (const part of ['//', '/./', '/../', '%2f', '%2F', '#']) {
    if (value.includes(part)) return `a path to match cannot contain ${part}, ${got}`
  }
  for (const end of ['/..', '/.']) {
    if (value.endsWith(end)) return `a path to match cannot end in ${end}, ${got}`
  }
  if (!PATH_CHARACTERS.test(value)) return `contains a character that no path has unencoded, ${got}`
  return undefined
}

/** What only the mesh can say is matched like a header, where it stands for anything. */
function checkMatchedHeader(text: string): string | undefined {
  const name = text.toLowerCase()
  if (!isMeshName(name) || isMeshFact(name)) return checkHeaderName(text)
  return `no request has header ${text}: what the mesh knows of one is ${MESH_FACT_NAMES}`
}

function valueMatch(maxValue: number, checkName: (text: string) => string | undefined) {
  return refine(
    object('strict', {
      type: withDefault(oneOf('Exact', 'RegularExpression'), 'Exact'),
      name: string(checkName),
      value: string((text) =>
        text.length < 1 || text.length > maxValue
          ? `expected 1 to ${maxValue} characters, got ${text.length}`
          : undefined,
      ),
    }),
    ({ type, value }, field, issues: Issue[]) => {
      const wrong = type === 'RegularExpression' ? checkRegularExpression(value) : undefined
      if (wrong !== undefined) issues.push({ field: `${field}.value`, message: wrong })
    },
  )
}

export const headerMatchesSchema = list(valueMatch(4096, checkMatchedHeader), { max: 16 })

const MATCH_ALL_PATH: Output<typeof pathMatch> = { type: 'PathPrefix', value: '/' }

export const routeMatchSchema = object('strict', {
  path: withDefault(pathMatch, MATCH_ALL_PATH),
  headers: withDefault(headerMatchesSchema, []),
  queryParams: withDefault(list(valueMatch(1024, checkHeaderName), { max: 16 }), []),
  method: optional(oneOf('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH')),
})

export type RouteMatchSpec = Output<typeof routeMatchSchema>

/** What stands for an absent or empty list of matches. */
export const MATCH_ALL: RouteMatchSpec = { path: MATCH_ALL_PATH, headers: [], queryParams: [] }
