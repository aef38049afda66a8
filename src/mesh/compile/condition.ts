/** Conditions, as metav1.Condition without times. */
import type { ParentRefSpec } from '#resources'

export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False'
  readonly reason: string
  readonly message: string
}

/** What is said of an object with respect to one that it refers to. */
export interface ParentConditions {
  readonly parentRef: ParentRefSpec
  readonly conditions: readonly Condition[]
}

/** The reasons that say yes are named as their conditions are. */
export function condition(type: string, reason: string, message: string): Condition {
  return { type, status: reason === type || reason === 'Accepted' ? 'True' : 'False', reason, message }
}

export function accepted(reason: string, message: string): Condition {
  return condition('Accepted', reason, message)
}
