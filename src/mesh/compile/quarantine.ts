/**
 * The quarantine of a pod, from its annotations. It fails closed: a value that cannot be read means quarantine, and an
 * entry of the list that cannot be read lets nothing through.
 */
import { ANNOTATION, type Quarantine } from '#contract'
import { canonicalNetwork, type PodObject } from '#resources'
import { type ListWords, readEntries } from './list-entries.ts'
import type { ProblemLog } from './problem-log.ts'

const ALLOWED: ListWords = {
  expected: 'a CIDR block such as 10.0.0.5/32',
  effect: 'allows',
  plural: 'allow',
}

/** Undefined when the pod is not in quarantine. */
export function readQuarantine(pod: PodObject, problems: ProblemLog): Quarantine | undefined {
  const { annotations } = pod.metadata
  const word = annotations[ANNOTATION.quarantine]
  if (word === undefined || word === 'false') {
    if (annotations[ANNOTATION.quarantineAllow] !== undefined) {
      const field = `metadata.annotations[${ANNOTATION.quarantineAllow}]`
      problems.warn(pod, field, `has no effect: the pod is not in quarantine (${ANNOTATION.quarantine}: "true")`)
    }
    return undefined
  }
  if (word !== 'true') {
    const message = `expected true or false, got ${JSON.stringify(word)}; the pod is in quarantine, and nobody is allowed: correct the value`
    problems.add(pod, `metadata.annotations[${ANNOTATION.quarantine}]`, message)
    return { allow: [], doubtful: true }
  }
  return { allow: readEntries(pod, ANNOTATION.quarantineAllow, parseBlock, ALLOWED, problems) }
}

/** Without /0, which would be no quarantine. */
function parseBlock(text: string): string | undefined {
  const network = canonicalNetwork(text)
  return network?.endsWith('/0') === true ? undefined : network
}
