/** Of several TrafficPolicies for one Service one applies as a whole: which one, and what the others are told. */
import { isInvalid, type KubernetesObject, type TrafficPolicyObject } from '#resources'
import { compareAge } from '../age.ts'
import type { ProblemLog } from './problem-log.ts'

/** By `namespace/name` of the Service. */
export function applyingTrafficPolicies(
  objects: readonly KubernetesObject[],
): ReadonlyMap<string, TrafficPolicyObject> {
  const applying = new Map<string, TrafficPolicyObject>()
  for (const object of objects) {
    if (isInvalid(object) || object.kind !== 'TrafficPolicy') continue
    for (const { name } of object.spec.targetRefs) {
      const service = `${object.metadata.namespace}/${name}`
      const other = applying.get(service)
      if (other === undefined || compareAge(ageOf(object), ageOf(other)) < 0) applying.set(service, object)
    }
  }
  return applying
}

/** Tells those that do not apply. */
export function checkTrafficConflicts(objects: readonly KubernetesObject[], problems: ProblemLog): void {
  const applying = applyingTrafficPolicies(objects)
  for (const object of objects) {
    if (isInvalid(object) || object.kind !== 'TrafficPolicy') continue
    for (const [index, { name }] of object.spec.targetRefs.entries()) {
      const other = applying.get(`${object.metadata.namespace}/${name}`)
      if (other === undefined || other === object) continue
      const message = `TrafficPolicy ${other.metadata.name} is older and applies to Service ${name} instead: merge them`
      problems.add(object, `spec.targetRefs[${index}]`, message)
    }
  }
}

function ageOf({ metadata }: TrafficPolicyObject) {
  return { createdAt: metadata.creationTimestamp ?? '', namespace: metadata.namespace, name: metadata.name }
}
