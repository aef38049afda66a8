/** How what we say of an object goes into the `status` it has, beside what others say there. Pure. */
import type { Condition, ObjectStatus, ParentConditions } from '#mesh/compile'

/** By which our entries of a route's status are told from those of others (Gateway API, RouteParentStatus). */
export const CONTROLLER_NAME = 'weir.dev/mesh'

interface WrittenCondition extends Condition {
  readonly lastTransitionTime?: string
  readonly observedGeneration?: number
}

interface WrittenParent {
  readonly controllerName?: string
  readonly parentRef?: Readonly<Record<string, unknown>>
  readonly conditions?: readonly WrittenCondition[]
}

interface WrittenAncestor {
  readonly controllerName?: string
  readonly ancestorRef?: Readonly<Record<string, unknown>>
  readonly conditions?: readonly WrittenCondition[]
}

/** Gateway API, PolicyStatus. */
const MAX_ANCESTORS = 16

/** Of any object with conditions; other fields are not looked at. */
export interface PresentStatus {
  readonly parents?: readonly WrittenParent[]
  readonly ancestors?: readonly WrittenAncestor[]
  readonly conditions?: readonly WrittenCondition[]
}

/**
 * What `status` must become, as a merge patch; undefined when it says all of it already.
 * @param nowText RFC 3339, with seconds
 */
export function patchFor(said: ObjectStatus, present: PresentStatus, nowText: string): PresentStatus | undefined {
  if (said.of === 'policy') {
    const before = present.conditions ?? []
    const own = new Set(said.conditions.map(({ type }) => type))
    const conditions = [
      ...before.filter(({ type }) => !own.has(type)),
      ...said.conditions.map((one) => dated(one, before, said.generation, nowText)),
    ]
    return same(before, conditions) ? undefined : { conditions }
  }
  if (said.of === 'ancestors') {
    const others = (present.ancestors ?? []).filter(isOthers)
    const mine = (present.ancestors ?? []).filter((one) => !isOthers(one))
    const now = said.ancestors.map(({ parentRef, conditions }) => {
      const ref = withoutUndefined(parentRef)
      const before = mine.find(({ ancestorRef }) => same(ancestorRef, ref))?.conditions ?? []
      return { ancestorRef: ref, ...written(conditions, before, said.generation, nowText) }
    })
    // Where there is no room beside what others say, nothing is said.
    const ancestors = [...others, ...now].slice(0, Math.max(MAX_ANCESTORS, others.length))
    return same(present.ancestors ?? [], ancestors) ? undefined : { ancestors }
  }
  const others = (present.parents ?? []).filter(isOthers)
  const mine = (present.parents ?? []).filter((one) => !isOthers(one))
  const now = said.parents.map(({ parentRef, conditions }) => {
    const ref = withoutUndefined(parentRef)
    const before = mine.find((parent) => same(parent.parentRef, ref))?.conditions ?? []
    return { parentRef: ref, ...written(conditions, before, said.generation, nowText) }
  })
  // In the order of the route's references; several controllers may speak of one parent.
  const parents = [...others, ...now]
  return same(present.parents ?? [], parents) ? undefined : { parents }
}

function isOthers({ controllerName }: { readonly controllerName?: string }): boolean {
  return controllerName !== CONTROLLER_NAME
}

function withoutUndefined(ref: ParentConditions['parentRef']): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(ref).filter(([, value]) => value !== undefined))
}

function written(
  conditions: readonly Condition[],
  before: readonly WrittenCondition[],
  generation: number | undefined,
  nowText: string,
) {
  return {
    controllerName: CONTROLLER_NAME,
    conditions: conditions.map((one) => dated(one, before, generation, nowText)),
  }
}

/** The time is that of the last change of `status`, whatever else changes. */
function dated(
  said: Condition,
  before: readonly WrittenCondition[],
  generation: number | undefined,
  nowText: string,
): WrittenCondition {
  const last = before.find(({ type }) => type === said.type)
  const lastTransitionTime = last?.status === said.status ? (last.lastTransitionTime ?? nowText) : nowText
  return { ...said, lastTransitionTime, ...(generation === undefined ? {} : { observedGeneration: generation }) }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a, sortKeys) === JSON.stringify(b, sortKeys)
}

/** The API server gives fields in an order of its own. */
function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
