/**
 * BackendTLSPolicies, and the ConfigMaps they refer to → what connections to Services are made by. Bias: where a policy
 * cannot be carried out its connections fail; none is opened in plain text.
 */
import { X509Certificate } from 'node:crypto'
import type { BackendTls } from '#contract'
import { type BackendTlsPolicyObject, type ConfigMapObject, type InvalidBackendTls, isCoreGroup } from '#resources'
import { compareAge } from '../age.ts'
import type { ProblemLog } from './problem-log.ts'

const CA_KEY = 'ca.crt'
const FATE = 'until it is mended requests to its Services get 503'

export function compileBackendTls(
  policy: BackendTlsPolicyObject,
  configMaps: ReadonlyMap<string, ConfigMapObject>,
  problems: ProblemLog,
): BackendTls {
  const { targetRefs, validation } = policy.spec
  const roots: string[] = []
  let invalid: string | undefined
  for (const [index, { group, kind, name }] of validation.caCertificateRefs.entries()) {
    const field = `spec.validation.caCertificateRefs[${index}]`
    const found = rootsOf(isCoreGroup(group) ? kind : `${group}/${kind}`, name, policy.metadata.namespace, configMaps)
    if (Array.isArray(found)) roots.push(...found)
    else {
      problems.add(policy, field, `${found}; ${FATE}`)
      invalid ??= `${field}: ${found}`
    }
  }
  return {
    ...headOf(policy),
    targets: targetRefs.map(({ name, sectionName }) => ({
      service: name,
      ...(sectionName === undefined ? {} : { sectionName }),
    })),
    hostname: validation.hostname,
    ...(validation.wellKnownCACertificates === undefined ? { roots } : {}),
    names: validation.subjectAltNames.map(({ type, hostname, uri }) => ({ type, value: hostname ?? uri ?? '' })),
    ...(invalid === undefined ? {} : { invalid }),
  }
}

export function compileInvalidBackendTls(policy: InvalidBackendTls): BackendTls {
  const targets = policy.services.map((service) => ({ service }))
  return { ...headOf(policy), targets, hostname: '', roots: [], names: [], invalid: policy.invalid }
}

function headOf({ metadata }: BackendTlsPolicyObject | InvalidBackendTls) {
  const { namespace, name, creationTimestamp: createdAt = '' } = metadata
  return { kind: 'backend-tls', namespace, name, createdAt } as const
}

/** PEM texts, or what is wrong. */
function rootsOf(
  kind: string,
  name: string,
  namespace: string,
  configMaps: ReadonlyMap<string, ConfigMapObject>,
): readonly string[] | string {
  if (kind !== 'ConfigMap') return `${kind} ${name} is no source of certificates here: only ConfigMaps are`
  const map = configMaps.get(`${namespace}/${name}`)
  if (map === undefined) return `ConfigMap ${namespace}/${name} does not exist, or cannot be read`
  const text = map.data[CA_KEY]
  if (text === undefined) return `ConfigMap ${namespace}/${name} has no key ${CA_KEY}`
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0) return `ConfigMap ${namespace}/${name}: ${CA_KEY} holds no PEM certificate`
  try {
    for (const block of blocks) new X509Certificate(block)
  } catch {
    return `ConfigMap ${namespace}/${name}: ${CA_KEY} holds a certificate that cannot be read`
  }
  return blocks
}

/** Tells those for whose Service an older one counts. */
export function checkBackendTlsConflicts(policies: readonly BackendTlsPolicyObject[], problems: ProblemLog): void {
  const first = new Map<string, BackendTlsPolicyObject>()
  const age = ({ metadata }: BackendTlsPolicyObject) => headOfAge(metadata)
  for (const policy of policies.toSorted((a, b) => compareAge(age(a), age(b)))) {
    for (const [index, { name, sectionName }] of policy.spec.targetRefs.entries()) {
      const key = `${policy.metadata.namespace}/${name} ${sectionName ?? ''}`
      const other = first.get(key)
      if (other === undefined) first.set(key, policy)
      else {
        const message = `BackendTLSPolicy ${other.metadata.name} is older and applies to Service ${name} instead`
        problems.add(policy, `spec.targetRefs[${index}]`, message)
      }
    }
  }
}

function headOfAge({ namespace, name, creationTimestamp: createdAt = '' }: BackendTlsPolicyObject['metadata']) {
  return { namespace, name, createdAt }
}
