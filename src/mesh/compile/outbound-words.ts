/**
 * Who may call only what is declared. A namespace's word goes before the agent's; a pod can only be stricter than its
 * namespace, as whoever writes it is the one to be held. What cannot be read counts as the stricter.
 */
import { ANNOTATION, type OutboundTrafficPolicy } from '#contract'
import type { NamespaceObject, PodObject } from '#resources'
import type { ProblemLog } from './problem-log.ts'

const FIELD = `metadata.annotations[${ANNOTATION.outboundTrafficPolicy}]`

export class OutboundWords {
  readonly #namespaces = new Map<string, OutboundTrafficPolicy>()
  readonly #problems: ProblemLog

  constructor(namespaces: readonly NamespaceObject[], problems: ProblemLog) {
    this.#problems = problems
    for (const namespace of namespaces) {
      const word = this.#read(namespace)
      if (word !== undefined) this.#namespaces.set(namespace.metadata.name, word)
    }
  }

  /** Undefined: as the agent was told. */
  of(pod: PodObject): OutboundTrafficPolicy | undefined {
    const own = this.#read(pod)
    const wide = this.#namespaces.get(pod.metadata.namespace)
    if (own !== 'ALLOW_ANY') return own ?? wide
    if (wide !== 'ALLOW_ANY') {
      this.#problems.warn(pod, FIELD, 'has no effect: only its namespace may allow more than the agent does')
    }
    return wide
  }

  #read(object: PodObject | NamespaceObject): OutboundTrafficPolicy | undefined {
    const text = object.metadata.annotations[ANNOTATION.outboundTrafficPolicy]
    if (text === undefined || text === 'ALLOW_ANY' || text === 'REGISTRY_ONLY') return text
    const message = `expected REGISTRY_ONLY or ALLOW_ANY, got ${JSON.stringify(text)}; REGISTRY_ONLY holds`
    this.#problems.add(object, FIELD, message)
    return 'REGISTRY_ONLY'
  }
}
