/**
 * BackendTLSPolicy (gateway.networking.k8s.io v1 and v1alpha3), strict: how the mesh opens TLS to Services; and the
 * ConfigMaps that hold the roots for it.
 */

import { isRecord, list, map, type Output, object, oneOf, optional, refine, string, withDefault } from '#schema'
import { checkHostname, checkLabelName, checkPreciseHostname, checkSubdomain } from './names.ts'

const targetRef = refine(
  object('strict', {
    group: withDefault(string(), ''),
    kind: string(),
    name: string(checkSubdomain),
    sectionName: optional(string(checkSubdomain)),
  }),
  ({ group, kind }, field, issues) => {
    if (kind === 'Service' && (group === '' || group === 'core')) return
    issues.push({ field, message: `only Services are backends here, got ${kind}` })
  },
)

const subjectAltName = refine(
  object('strict', {
    type: oneOf('Hostname', 'URI'),
    hostname: optional(string(checkHostname)),
    uri: optional(string((text) => (/^[a-z][a-z0-9+.-]*:./i.test(text) ? undefined : 'expected an absolute URI'))),
  }),
  ({ type, hostname, uri }, field, issues) => {
    const [own, other] = type === 'Hostname' ? [hostname, uri] : [uri, hostname]
    const name = type === 'Hostname' ? 'hostname' : 'uri'
    if (own === undefined) issues.push({ field, message: `type ${type} needs the field ${name}` })
    if (other !== undefined) issues.push({ field, message: `type ${type} has the field ${name} only` })
  },
)

const validation = refine(
  object('strict', {
    caCertificateRefs: withDefault(
      list(object('strict', { group: withDefault(string(), ''), kind: string(), name: string(checkSubdomain) }), {
        max: 8,
      }),
      [],
    ),
    wellKnownCACertificates: optional(oneOf('System')),
    hostname: string(checkPreciseHostname),
    subjectAltNames: withDefault(list(subjectAltName, { max: 5 }), []),
  }),
  ({ caCertificateRefs, wellKnownCACertificates }, field, issues) => {
    const message = 'needs either caCertificateRefs or wellKnownCACertificates: System'
    if (caCertificateRefs.length > 0 === (wellKnownCACertificates !== undefined)) issues.push({ field, message })
  },
)

export const backendTlsPolicyBody = object('strict', {
  spec: object(
    'strict',
    { targetRefs: list(targetRef, { min: 1, max: 16 }), validation },
    { options: 'is not supported: remove it' },
  ),
})

/** Texts only: what is in `binaryData` is none. */
export const configMapBody = object('lenient', { data: withDefault(map(string()), {}) })

export type BackendTlsPolicyBody = Output<typeof backendTlsPolicyBody>
export type ConfigMapBody = Output<typeof configMapBody>

/** Names of Services, of a spec that does not validate: connections to them must fail. */
export function readBackendNames(value: Readonly<Record<string, unknown>>): readonly string[] {
  const refs = isRecord(value['spec']) ? value['spec']['targetRefs'] : undefined
  if (!Array.isArray(refs)) return []
  return refs.flatMap((ref: unknown) => {
    const name = isRecord(ref) ? ref['name'] : undefined
    return typeof name === 'string' && checkLabelName(name) === undefined ? [name] : []
  })
}
