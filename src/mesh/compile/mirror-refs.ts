/** What the RequestMirror filters of a rule, and of its backends, refer to. */
import type { BackendRefSpec, RouteFilterSpec } from '#resources'

type MirrorRef = NonNullable<RouteFilterSpec['requestMirror']>['backendRef']

/** Each with its field; `field` is the rule's. */
export function mirrorRefs(
  rule: {
    /** Absent where connections are routed. */
    readonly filters?: readonly RouteFilterSpec[]
    readonly backendRefs: readonly { readonly name: string; readonly filters?: BackendRefSpec['filters'] }[]
  },
  field: string,
): readonly (readonly [string, MirrorRef])[] {
  const of = (filters: readonly RouteFilterSpec[] = [], at: string) =>
    filters.flatMap(({ requestMirror }, index): (readonly [string, MirrorRef])[] =>
      requestMirror === undefined
        ? []
        : [[`${at}.filters[${index}].requestMirror.backendRef`, requestMirror.backendRef]],
    )
  return [
    ...of(rule.filters, field),
    ...rule.backendRefs.flatMap(({ filters }, index) => of(filters, `${field}.backendRefs[${index}]`)),
  ]
}
