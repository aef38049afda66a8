/**
 * What became of BackendTLSPolicies, as conditions of their `status.ancestors` (Gateway API, PolicyAncestorStatus). There is no
 * Gateway in a mesh: the ancestor is the Service that a policy is for.
 */
import type {
  BackendTlsPolicyObject,
  ConfigMapObject,
  InvalidBackendTls,
  KubernetesObject,
  ParentRefSpec,
  ServiceObject,
} from '#resources'
import { isInvalid } from '#resources'
import { faultOfCaRef, overrulingBackendTls } from './backend-tls.ts'
import { accepted, type Condition, condition, type ParentConditions } from './condition.ts'

const SERVICE = { group: '', kind: 'Service' } as const

export class BackendTlsConditions {
  readonly #services: ReadonlyMap<string, ServiceObject>
  readonly #configMaps = new Map<string, ConfigMapObject>()
  readonly #overruling: ReadonlyMap<BackendTlsPolicyObject, ReadonlyMap<number, BackendTlsPolicyObject>>

  constructor(objects: readonly KubernetesObject[], services: ReadonlyMap<string, ServiceObject>) {
    this.#services = services
    const policies: BackendTlsPolicyObject[] = []
    for (const object of objects) {
      if (isInvalid(object)) continue
      if (object.kind === 'ConfigMap') {
        this.#configMaps.set(`${object.metadata.namespace}/${object.metadata.name}`, object)
      } else if (object.kind === 'BackendTLSPolicy') policies.push(object)
    }
    this.#overruling = overrulingBackendTls(policies)
  }

  /** One entry for each of its Services. */
  of(policy: BackendTlsPolicyObject): readonly ParentConditions[] {
    const resolved = this.#resolved(policy)
    return policy.spec.targetRefs.map((target, index) => ({
      parentRef: ancestorRef(target.name, policy.metadata.namespace, target.sectionName),
      conditions: [this.#accepted(policy, index, target.name), resolved],
    }))
  }

  /** Of one that is not understood: for the Services that can be read of it. */
  ofInvalid({ metadata, services, invalid }: InvalidBackendTls): readonly ParentConditions[] {
    return services.map((name) => ({
      parentRef: ancestorRef(name, metadata.namespace, undefined),
      conditions: [accepted('Invalid', `${invalid}; until it is mended requests to its Services get 503`)],
    }))
  }

  #accepted(policy: BackendTlsPolicyObject, index: number, service: string): Condition {
    const { namespace } = policy.metadata
    const other = this.#overruling.get(policy)?.get(index)
    if (other !== undefined) {
      return accepted(
        'Conflicted',
        `BackendTLSPolicy ${other.metadata.name} is older and applies to Service ${service}`,
      )
    }
    if (!this.#services.has(`${namespace}/${service}`)) {
      return accepted('TargetNotFound', `Service ${namespace}/${service} does not exist: it applies to nothing there`)
    }
    const refs = policy.spec.validation.caCertificateRefs
    const faults = refs.flatMap((ref) => faultOfCaRef(ref, namespace, this.#configMaps) ?? [])
    const [first] = faults
    if (first !== undefined && faults.length === refs.length) return accepted('NoValidCACertificate', first.message)
    return accepted('Accepted', '')
  }

  /** The first reference that leads nowhere stands for all. */
  #resolved({ metadata, spec }: BackendTlsPolicyObject): Condition {
    for (const [index, ref] of spec.validation.caCertificateRefs.entries()) {
      const fault = faultOfCaRef(ref, metadata.namespace, this.#configMaps)
      if (fault === undefined) continue
      const message = `spec.validation.caCertificateRefs[${index}]: ${fault.message}; requests to its Services get 503`
      return condition('ResolvedRefs', fault.reason, message)
    }
    return condition('ResolvedRefs', 'ResolvedRefs', '')
  }
}

function ancestorRef(name: string, namespace: string, sectionName: string | undefined): ParentRefSpec {
  return { ...SERVICE, name, namespace, ...(sectionName === undefined ? {} : { sectionName }) }
}
