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
  for (const [index, ref] of validation.caCertificateRefs.entries()) {
    const field = `spec.validation.caCertificateRefs[${index}]`
    const found = rootsOf(ref, policy.metadata.namespace, configMaps)
    if (isRoots(found)) roots.push(...found)
    else {
      problems.add(policy, field, `${found.message}; ${FATE}`)
      invalid ??= `${field}: ${found.message}`
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

type CaRef = BackendTlsPolicyObject['spec']['validation']['caCertificateRefs'][number]

/** In the words of the Gateway API (reasons of the condition ResolvedRefs), and in words. */
export interface CaRefFault {
  readonly reason: 'InvalidKind' | 'InvalidCACertificateRef'
  readonly message: string
}

export function faultOfCaRef(
  ref: CaRef,
  namespace: string,
  configMaps: ReadonlyMap<string, ConfigMapObject>,
): CaRefFault | undefined {
  const found = rootsOf(ref, namespace, configMaps)
  return isRoots(found) ? undefined : found
}

function isRoots(found: readonly string[] | CaRefFault): found is readonly string[] {
  return Array.isArray(found)
}

/** PEM texts, or what is wrong. */
function rootsOf(
  ref: CaRef,
  namespace: string,
  configMaps: ReadonlyMap<string, ConfigMapObject>,
): readonly string[] | CaRefFault {
  const { name } = ref
  const kind = isCoreGroup(ref.group) ? ref.kind : `${ref.group}/${ref.kind}`
  if (kind !== 'ConfigMap') {
    return { reason: 'InvalidKind', message: `${kind} ${name} is no source of certificates here: only ConfigMaps are` }
  }
  const invalid = (message: string) => ({ reason: 'InvalidCACertificateRef' as const, message })
  const map = configMaps.get(`${namespace}/${name}`)
  if (map === undefined) return invalid(`ConfigMap ${namespace}/${name} does not exist, or cannot be read`)
  const text = map.data[CA_KEY]
  if (text === undefined) return invalid(`ConfigMap ${namespace}/${name} has no key ${CA_KEY}`)
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0) return invalid(`ConfigMap ${namespace}/${name}: ${CA_KEY} holds no PEM certificate`)
  try {
    for (const block of blocks) new X509Certificate(block)
  } catch {
    return invalid(`ConfigMap ${namespace}/${name}: ${CA_KEY} holds a certificate that cannot be read`)
  }
  return blocks
}

/** Of policies for whose Service an older one counts: which, by the index of the target. */
export function overrulingBackendTls(
  policies: readonly BackendTlsPolicyObject[],
): ReadonlyMap<BackendTlsPolicyObject, ReadonlyMap<number, BackendTlsPolicyObject>> {
  const first = new Map<string, BackendTlsPolicyObject>()
  const overruling = new Map<BackendTlsPolicyObject, Map<number, BackendTlsPolicyObject>>()
  const age = ({ metadata }: BackendTlsPolicyObject) => headOfAge(metadata)
  for (const policy of policies.toSorted((a, b) => compareAge(age(a), age(b)))) {
    for (const [index, { name, sectionName }] of policy.spec.targetRefs.entries()) {
      const key = `${policy.metadata.namespace}/${name} ${sectionName ?? ''}`
      const other = first.get(key)
      if (other === undefined) first.set(key, policy)
      else overruling.set(policy, (overruling.get(policy) ?? new Map()).set(index, other))
    }
  }
  return overruling
}

export function checkBackendTlsConflicts(policies: readonly BackendTlsPolicyObject[], problems: ProblemLog): void {
  for (const [policy, targets] of overrulingBackendTls(policies)) {
    for (const [index, other] of targets) {
      const service = policy.spec.targetRefs[index]?.name ?? ''
      const message = `BackendTLSPolicy ${other.metadata.name} is older and applies to Service ${service} instead`
      problems.add(policy, `spec.targetRefs[${index}]`, message)
    }
  }
}

function headOfAge({ namespace, name, creationTimestamp: createdAt = '' }: BackendTlsPolicyObject['metadata']) {
  return { namespace, name, createdAt }
}
