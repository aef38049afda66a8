/** Names and targets that objects want for themselves: whether a change concerns but one object of each is seen by counting. */
import type { KubernetesObject } from '#resources'
import { isInvalid } from '#resources'
import { entryNames } from './service-entries.ts'

export class SoleClaims {
  readonly #counts = new Map<string, number>()

  /** False when another one has claimed something of it. */
  add(object: KubernetesObject): boolean {
    let alone = true
    for (const claim of claimsOf(object)) {
      const count = this.#counts.get(claim) ?? 0
      this.#counts.set(claim, count + 1)
      if (count > 0) alone = false
    }
    return alone
  }

  /** False when another one has claimed something of it. */
  remove(object: KubernetesObject): boolean {
    let alone = true
    for (const claim of claimsOf(object)) {
      const count = this.#counts.get(claim) ?? 0
      if (count > 1) this.#counts.set(claim, count - 1)
      else this.#counts.delete(claim)
      if (count !== 1) alone = false
    }
    return alone
  }
}

function claimsOf(object: KubernetesObject): readonly string[] {
  const { kind, group, metadata } = object
  const { namespace, name } = metadata
  switch (kind) {
    case 'AuthorizationPolicy':
      // By the second it is told from one of that name in another group.
      return [`${kind} ${namespace}/${name}`, `${kind} ${namespace}/${name}.${group}`]
    case 'TrafficPolicy':
      if (isInvalid(object)) return []
      return [...new Set(object.spec.targetRefs.map((target) => `${kind} ${namespace}/${target.name}`))]
    case 'BackendTLSPolicy':
      if (isInvalid(object)) return []
      return object.spec.targetRefs.map((target) => `${kind} ${namespace}/${target.name} ${target.sectionName ?? ''}`)
    case 'ServiceEntry':
      return entryNames(object).map((host) => `${kind} ${host}`)
    default:
      return []
  }
}
