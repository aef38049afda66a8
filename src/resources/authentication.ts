/**
 * PeerAuthentication and RequestAuthentication (weir.dev/v1alpha1, security.istio.io/v1 and v1beta1), strict,
 * with Istio's own rules of what is a mistake.
 */
import {
  boolean,
  checkDuration,
  list,
  map,
  type Output,
  object,
  oneOf,
  optional,
  refine,
  string,
  withDefault,
} from '#schema'
import { checkHeaderName } from './names.ts'
import { checkTarget, selectorSchema, targetFields } from './policy-target.ts'

const mtls = object('strict', { mode: withDefault(oneOf('UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT'), 'UNSET') })

function checkPortKey(key: string): string | undefined {
  if (/^[1-9][0-9]{0,4}$/.test(key) && Number(key) <= 65535) return undefined
  return `expected a port from 1 to 65535 as key, got ${JSON.stringify(key)}`
}

const peerSpec = refine(
  object('strict', {
    selector: optional(selectorSchema),
    mtls: optional(mtls),
    portLevelMtls: optional(map(mtls, checkPortKey)),
  }),
  ({ selector, portLevelMtls }, field, issues) => {
    if (portLevelMtls === undefined) return
    const at = `${field}.portLevelMtls`
    if (Object.keys(portLevelMtls).length === 0)
      issues.push({ field: at, message: 'is empty: fill it or remove the field' })
    if (Object.keys(selector?.matchLabels ?? {}).length > 0) return
    issues.push({ field: at, message: 'needs a selector with labels: ports can only be set for chosen workloads' })
  },
)

export const peerAuthenticationBody = object('strict', { spec: withDefault(peerSpec, {}) })

const nonEmpty = string((text) => (text === '' ? 'is empty' : undefined))

const jwtRule = refine(
  object('strict', {
    issuer: optional(nonEmpty),
    audiences: optional(list(nonEmpty, { min: 1 })),
    jwksUri: optional(
      string((text) => {
        const parsed = URL.parse(text)
        if (parsed !== null && ['http:', 'https:'].includes(parsed.protocol)) return undefined
        return `expected an http or https URL, got ${JSON.stringify(text)}`
      }),
    ),
    jwks: optional(
      string((text) => {
        try {
          JSON.parse(text)
          return undefined
        } catch {
          return 'expected a JSON Web Key Set as JSON text'
        }
      }),
    ),
    fromHeaders: optional(
      list(object('strict', { name: string(checkHeaderName), prefix: optional(string()) }), { min: 1 }),
    ),
    fromParams: optional(list(nonEmpty, { min: 1 })),
    fromCookies: optional(list(nonEmpty, { min: 1 })),
    outputPayloadToHeader: optional(string(checkHeaderName)),
    outputClaimToHeaders: optional(
      list(object('strict', { header: string(checkHeaderName), claim: nonEmpty }), { min: 1 }),
    ),
    spaceDelimitedClaims: optional(list(nonEmpty, { min: 1, max: 64 })),
    forwardOriginalToken: optional(boolean()),
    timeout: optional(string(checkDuration)),
  }),
  ({ issuer, jwksUri, jwks }, field, issues) => {
    if (issuer === undefined && jwksUri === undefined) issues.push({ field, message: 'needs issuer or jwksUri' })
    if (jwks !== undefined && jwksUri !== undefined) {
      issues.push({ field: `${field}.jwks`, message: 'cannot be combined with jwksUri: keep one of them' })
    }
  },
)

const requestSpec = refine(
  object('strict', { ...targetFields, jwtRules: withDefault(list(jwtRule, { max: 4096 }), []) }),
  checkTarget,
)

export const requestAuthenticationBody = object('strict', { spec: withDefault(requestSpec, { jwtRules: [] }) })

export type PeerAuthenticationBody = Output<typeof peerAuthenticationBody>
export type RequestAuthenticationBody = Output<typeof requestAuthenticationBody>
