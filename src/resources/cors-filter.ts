/** The CORS filter of an HTTPRoute (Gateway API v1, GEP-1767): which origins, methods and headers a browser may use. */

import { boolean, type Issue, integer, list, object, oneOf, optional, refine, string, withDefault } from '#schema'
import { checkHeaderName } from './names.ts'

const ORIGIN = /^https?:\/\/(?:(?:\*\.)?(?:[a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(?::[0-9]{1,5})?$/

const origin = string((text) =>
  text === '*' || (text.length <= 253 && ORIGIN.test(text))
    ? undefined
    : `expected * or an origin such as https://shop.example.com or https://*.example.com, got ${JSON.stringify(text)}`,
)
const method = oneOf('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', '*')
const names = withDefault(list(string(checkHeaderName), { max: 64 }), [])

export const corsFilterSchema = refine(
  object('strict', {
    allowOrigins: withDefault(list(origin, { max: 64 }), []),
    allowCredentials: optional(boolean()),
    allowMethods: withDefault(list(method, { max: 9 }), []),
    allowHeaders: names,
    exposeHeaders: names,
    /** Seconds. */
    maxAge: withDefault(integer(1, 2_147_483_647), 5),
  }),
  (cors, field, issues: Issue[]) => {
    for (const name of ['allowOrigins', 'allowMethods', 'allowHeaders', 'exposeHeaders'] as const) {
      const values: readonly string[] = cors[name]
      if (values.length > 1 && values.includes('*'))
        issues.push({ field: `${field}.${name}`, message: '* cannot stand beside others: remove one or the other' })
    }
  },
)
