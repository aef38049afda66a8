/** What the RequestMirror filters of a rule, and of its backends, refer to. */
import type { BackendRefSpec, RouteFilterSpec } from '#resources'

type MirrorRef = NonNullable<RouteFilterSpec['requestMirror']>['backendRef']

/** Each with its field; `field` is the rule's. */
export function mirrorRefs(
  rule: {
    /** Rules of streams have none. */
    readonly filters?: readonly RouteFilterSpec[]
    readonly backendRefs: readonly (Pick<BackendRefSpec, 'name'> & { readonly filters?: readonly RouteFilterSpec[] })[]
  },
  field: string,
): readonly (readonly [string, MirrorRef])[] {
  const of = (filters: readonly RouteFilterSpec[] | undefined, at: string) =>
    (filters ?? []).flatMap(({ requestMirror }, index): (readonly [string, MirrorRef])[] =>
      requestMirror === undefined
        ? []
        : [[`${at}.filters[${index}].requestMirror.backendRef`, requestMirror.backendRef]],
    )
  return [
    ...of(rule.filters, field),
    ...rule.backendRefs.flatMap(({ filters }, index) => of(filters, `${field}.backendRefs[${index}]`)),
  ]
}
