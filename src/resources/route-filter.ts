/** The filters of an HTTPRoute (Gateway API v1): one of a few types, each with the field of its own name. */

import {
  FAILED,
  type Issue,
  integer,
  list,
  type Output,
  object,
  oneOf,
  optional,
  port,
  refine,
  type Schema,
  string,
  withDefault,
} from '#schema'
import { corsFilterSchema } from './cors-filter.ts'
import { checkHeaderName, checkHeaderValue, checkLabelName, checkPreciseHostname, checkSubdomain } from './names.ts'
import { isPathText } from './route-match.ts'

/** These frame the message or belong to one connection: a rule that edits them corrupts the stream. */
const FRAMING_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const editableName = string(checkHeaderName, (text) => {
  const name = text.toLowerCase()
  if (FRAMING_HEADERS.has(name)) return `${text} frames the message and cannot be edited`
  if (name === 'x-forwarded-client-cert' || name.startsWith('x-weir-'))
    return `${text} belongs to the mesh and cannot be edited`
  return undefined
})
const headerEntry = object('strict', { name: editableName, value: string(checkHeaderValue) })

const headerModifier = refine(
  object('strict', {
    set: withDefault(list(headerEntry, { max: 16 }), []),
    add: withDefault(list(headerEntry, { max: 16 }), []),
    remove: withDefault(list(editableName, { max: 16 }), []),
  }),
  (value, field, issues) => {
    const seen = new Map<string, string>()
    const named = [
      ...value.set.map((entry, index) => [`set[${index}].name`, entry.name] as const),
      ...value.add.map((entry, index) => [`add[${index}].name`, entry.name] as const),
      ...value.remove.map((name, index) => [`remove[${index}]`, name] as const),
    ]
    for (const [at, name] of named) {
      const first = seen.get(name.toLowerCase())
      if (first === undefined) seen.set(name.toLowerCase(), at)
      else
        issues.push({
          field: `${field}.${at}`,
          message: `${name} is already edited by ${first}: one action for each header`,
        })
    }
  },
)

function replacement(emptyAllowed: boolean): Schema<string> {
  return string((text) => {
    if (text === '' && emptyAllowed) return undefined
    return isPathText(text) ? undefined : `expected a path that begins with /, got ${JSON.stringify(text)}`
  })
}

const pathModifier = refine(
  object('strict', {
    type: oneOf('ReplaceFullPath', 'ReplacePrefixMatch'),
    replaceFullPath: optional(replacement(false)),
    replacePrefixMatch: optional(replacement(true)),
  }),
  (value, field, issues) => {
    const fields = { ReplaceFullPath: 'replaceFullPath', ReplacePrefixMatch: 'replacePrefixMatch' } as const
    for (const [type, name] of Object.entries(fields)) {
      const present = value[name] !== undefined
      if (present === (type === value.type)) continue
      const message = present ? `belongs to type ${type}, but type is ${value.type}` : `is required by type ${type}`
      issues.push({ field: `${field}.${name}`, message })
    }
  },
)

const requestRedirect = object('strict', {
  scheme: optional(oneOf('http', 'https')),
  hostname: optional(string(checkPreciseHostname)),
  port: optional(port()),
  path: optional(pathModifier),
  statusCode: withDefault(oneOf(301, 302, 303, 307, 308), 302),
})

const urlRewrite = object('strict', {
  hostname: optional(string(checkPreciseHostname)),
  path: optional(pathModifier),
})

/** Of requests: one of the two, or all of them. */
const requestMirror = refine(
  object('strict', {
    backendRef: object('strict', {
      group: withDefault(string(), ''),
      kind: withDefault(string(), 'Service'),
      name: string(checkSubdomain),
      namespace: optional(string(checkLabelName)),
      port: optional(port()),
    }),
    percent: optional(integer(0, 100)),
    fraction: optional(
      refine(
        object('strict', {
          numerator: integer(0, 2_147_483_647),
          denominator: withDefault(integer(1, 2_147_483_647), 100),
        }),
        ({ numerator, denominator }, field, issues) => {
          if (numerator <= denominator) return
          issues.push({ field, message: `numerator ${numerator} is above denominator ${denominator}` })
        },
      ),
    ),
  }),
  ({ percent, fraction }, field, issues) => {
    if (percent !== undefined && fraction !== undefined)
      issues.push({ field, message: 'percent and fraction cannot be combined: keep one of them' })
  },
)

const FIELD_OF_TYPE = {
  RequestMirror: 'requestMirror',
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  CORS: 'cors',
} as const

/** Filters of the API that the mesh does not carry out. One may not be skipped, so the route is refused. */
const UNSUPPORTED = {
  ExternalAuth: 'externalAuth',
  ExtensionRef: 'extensionRef',
}
const supportedList = `supported are ${Object.keys(FIELD_OF_TYPE).join(', ')}`

const supported = oneOf(
  'RequestMirror',
  'RequestHeaderModifier',
  'ResponseHeaderModifier',
  'RequestRedirect',
  'URLRewrite',
  'CORS',
)
const filterType: typeof supported = {
  read(value, field, issues) {
    if (typeof value !== 'string' || !Object.hasOwn(UNSUPPORTED, value)) return supported.read(value, field, issues)
    issues.push({ field, message: `${value} is not supported: ${supportedList}` })
    return FAILED
  },
}

const filter = refine(
  object(
    'strict',
    {
      type: filterType,
      requestHeaderModifier: optional(headerModifier),
      responseHeaderModifier: optional(headerModifier),
      requestRedirect: optional(requestRedirect),
      urlRewrite: optional(urlRewrite),
      cors: optional(corsFilterSchema),
      requestMirror: optional(requestMirror),
    },
    Object.fromEntries(Object.values(UNSUPPORTED).map((name) => [name, `is not supported: ${supportedList}`])),
  ),
  (value, field, issues) => {
    for (const [type, name] of Object.entries(FIELD_OF_TYPE)) {
      const present = value[name] !== undefined
      if (present === (type === value.type)) continue
      const message = present ? `belongs to type ${type}, but type is ${value.type}` : `is required by type ${type}`
      issues.push({ field: `${field}.${name}`, message })
    }
  },
)

/** Up to 16 filters, each type but RequestMirror once, and not both a redirect and a rewrite. */
export const filtersSchema = refine(list(filter, { max: 16 }), (filters, field, issues) => {
  const seen = new Set<string>()
  for (const [index, { type }] of filters.entries()) {
    if (seen.has(type) && type !== 'RequestMirror')
      issues.push({ field: `${field}[${index}].type`, message: `${type} is already used: once in a list` })
    seen.add(type)
  }
  if (seen.has('RequestRedirect') && seen.has('URLRewrite')) {
    issues.push({ field, message: 'RequestRedirect and URLRewrite cannot be combined: keep one of them' })
  }
  if (seen.has('RequestRedirect') && seen.has('CORS')) {
    issues.push({ field, message: 'RequestRedirect and CORS cannot be combined: keep one of them' })
  }
})

/** Filters that change what a gRPC request does not have of its own: it has no path but its method's. */
const NOT_OF_GRPC: ReadonlySet<string> = new Set(['RequestRedirect', 'URLRewrite', 'CORS'])

export const grpcFiltersSchema = refine(filtersSchema, (filters, field, issues) => {
  for (const [index, { type }] of filters.entries()) {
    if (!NOT_OF_GRPC.has(type)) continue
    issues.push({ field: `${field}[${index}].type`, message: `${type} is no filter of a GRPCRoute: remove it` })
  }
})

export type RouteFilterSpec = Output<typeof filter>

/** A prefix can only be replaced where exactly one was matched. */
export function checkPrefixReplacement(
  filters: readonly RouteFilterSpec[],
  matches: readonly { readonly path: { readonly type: string } }[],
  field: string,
  issues: Issue[],
): void {
  if (matches.length === 1 && matches[0]?.path.type === 'PathPrefix') return
  for (const [index, item] of filters.entries()) {
    const name = FIELD_OF_TYPE[item.type]
    const path = (item.requestRedirect ?? item.urlRewrite)?.path
    if (path?.type !== 'ReplacePrefixMatch') continue
    const message = 'ReplacePrefixMatch needs a rule with exactly one match, of path type PathPrefix'
    issues.push({ field: `${field}[${index}].${name}.path.type`, message })
  }
}
