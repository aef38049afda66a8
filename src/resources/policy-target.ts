/** What a policy applies to: a workload selector or target references, as Istio's security kinds have them. */

import { type Issue, list, map, type Output, object, optional, string, withDefault } from '#schema'
import { checkLabelName, checkSubdomain } from './names.ts'

function checkNoWildcard(text: string): string | undefined {
  return text.includes('*') ? 'a selector knows no wildcards: write the label as it is' : undefined
}

export const selectorSchema = object('strict', {
  matchLabels: withDefault(
    map(string(checkNoWildcard), (key) => (key === '' ? 'a label has a name' : undefined), checkNoWildcard),
    {},
  ),
})

export const targetRefSchema = object('strict', {
  group: withDefault(string(), ''),
  kind: string(),
  name: string(checkSubdomain),
  namespace: optional(string(checkLabelName)),
})

/** The fields of a spec that say what it applies to; at most one of them may be set. */
export const targetFields = {
  selector: optional(selectorSchema),
  targetRef: optional(targetRefSchema),
  targetRefs: optional(list(targetRefSchema, { min: 1, max: 16 })),
}

export type TargetRefSpec = Output<typeof targetRefSchema>

export interface TargetSpec {
  readonly selector?: Output<typeof selectorSchema>
  readonly targetRef?: TargetRefSpec
  readonly targetRefs?: readonly TargetRefSpec[]
}

export function checkTarget(spec: TargetSpec, field: string, issues: Issue[]): void {
  const set = (['selector', 'targetRef', 'targetRefs'] as const).filter((name) => spec[name] !== undefined)
  if (set.length > 1)
    issues.push({ field: `${field}.${set[1]}`, message: `cannot be combined with ${set[0]}: keep one of them` })
}

/** Only the target, leniently, of a spec that does not validate; for what it must fail closed on. */
export const targetOnly = object('lenient', { spec: withDefault(object('lenient', targetFields), {}) })

/** Both forms of reference as one list. */
export function targetRefsOf(spec: TargetSpec): readonly TargetRefSpec[] {
  return spec.targetRefs ?? (spec.targetRef === undefined ? [] : [spec.targetRef])
}
