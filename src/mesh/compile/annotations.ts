/** Annotations and labels of the mesh's own that nobody reads: misspelt, or where they have no effect. */
import { ANNOTATION } from '#contract'
import type { NamespaceObject, PodObject } from '#resources'
import { nearestName } from '#schema'
import type { ProblemLog } from './problem-log.ts'

const KNOWN: readonly string[] = Object.values(ANNOTATION)
const PREFIX = ANNOTATION.mesh.slice(0, ANNOTATION.mesh.indexOf('/') + 1)

export function checkAnnotations(object: PodObject | NamespaceObject, problems: ProblemLog): void {
  const { annotations, labels } = object.metadata
  for (const name of Object.keys(annotations)) {
    const field = `metadata.annotations[${name}]`
    if (!KNOWN.includes(name)) tellUnknown(object, field, 'annotation', name, problems)
    else if (object.kind === 'Namespace' && name !== ANNOTATION.mesh && name !== ANNOTATION.outboundTrafficPolicy)
      problems.warn(object, field, 'has no effect on a Namespace: annotate its Pods')
  }
  for (const name of Object.keys(labels)) {
    const field = `metadata.labels[${name}]`
    if (!KNOWN.includes(name)) tellUnknown(object, field, 'label', name, problems)
    else if (object.kind === 'Pod') problems.warn(object, field, 'has no effect as a label: make it an annotation')
    else if (name === ANNOTATION.outboundTrafficPolicy)
      problems.warn(object, field, 'has no effect as a label: make it an annotation')
    else if (name !== ANNOTATION.mesh) problems.warn(object, field, 'has no effect on a Namespace: annotate its Pods')
  }
}

function tellUnknown(
  object: PodObject | NamespaceObject,
  field: string,
  what: 'annotation' | 'label',
  name: string,
  problems: ProblemLog,
): void {
  const near = nearestName(name, KNOWN)
  if (near === undefined && !name.startsWith(PREFIX)) return
  const guess = near === undefined ? `; known are ${KNOWN.join(', ')}` : `; did you mean ${near}?`
  problems.warn(object, field, `unknown ${what} ${name}${guess}`)
}
