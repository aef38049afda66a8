import t from 'tap'
import type { Condition, ObjectStatus } from '#mesh/compile'
import { CONTROLLER_NAME, patchFor } from '../../../agent/cluster/object-status.ts'

const yes: Condition = { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' }
const no: Condition = { type: 'Accepted', status: 'False', reason: 'NoMatchingParent', message: 'gone' }
const judged = { group: 'gateway.networking.k8s.io', kind: 'HTTPRoute', namespace: 'shop', name: 'r', generation: 3 }
const route = (condition: Condition, name = 'web'): ObjectStatus => ({
  ...judged,
  of: 'route',
  parents: [{ parentRef: { group: '', kind: 'Service', name }, conditions: [condition] }],
})
const theirs = {
  parentRef: { name: 'edge' },
  controllerName: 'example.com/gateway',
  conditions: [{ ...yes, lastTransitionTime: '2020-01-01T00:00:00Z', observedGeneration: 1 }],
}
const [THEN, NOW] = ['2026-01-01T00:00:00Z', '2026-02-02T00:00:00Z']

t.test('ours is written beside what other controllers say', (t) => {
  t.same(patchFor(route(yes), { parents: [theirs] }, NOW), {
    parents: [
      theirs,
      {
        parentRef: { group: '', kind: 'Service', name: 'web' },
        controllerName: CONTROLLER_NAME,
        conditions: [{ ...yes, lastTransitionTime: NOW, observedGeneration: 3 }],
      },
    ],
  })
  t.end()
})

t.test('what is there already is not written again, whatever the order of its fields', (t) => {
  const present = patchFor(route(yes), { parents: [theirs] }, THEN)
  t.equal(patchFor(route(yes), present ?? {}, NOW), undefined)
  const turned = JSON.parse(JSON.stringify(present), (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).reverse())
      : value,
  ) as object
  t.equal(patchFor(route(yes), turned, NOW), undefined)
  t.end()
})

t.test('the time is that of the last change of the condition’s status', (t) => {
  const present = patchFor(route(yes), {}, THEN) ?? {}
  const newer = patchFor({ ...route(yes), generation: 4 } as ObjectStatus, present, NOW)
  t.match(newer, { parents: [{ conditions: [{ lastTransitionTime: THEN, observedGeneration: 4 }] }] })
  t.match(patchFor(route(no), present, NOW), {
    parents: [{ conditions: [{ lastTransitionTime: NOW, status: 'False' }] }],
  })
  t.end()
})

t.test('a parent that the route names no more goes', (t) => {
  const present = patchFor(route(yes, 'old'), { parents: [theirs] }, THEN) ?? {}
  const patch = patchFor(route(yes, 'new'), present, NOW)
  t.same(
    patch?.parents?.map(({ parentRef }) => parentRef?.['name']),
    ['edge', 'new'],
  )
  t.match(patch?.parents?.[1], { conditions: [{ lastTransitionTime: NOW }] }, 'the new one has a time of its own')
  t.end()
})

t.test('a policy keeps the conditions of others', (t) => {
  const policy: ObjectStatus = {
    ...judged,
    kind: 'AuthorizationPolicy',
    of: 'policy',
    conditions: [{ ...yes, type: 'WeirAccepted' }],
  }
  const other = { ...yes, type: 'WaypointAccepted' }
  const patch = patchFor(policy, { conditions: [other] }, NOW)
  t.match(patch, { conditions: [other, { type: 'WeirAccepted', lastTransitionTime: NOW }] })
  t.equal(patchFor(policy, patch ?? {}, NOW), undefined)
  t.end()
})

t.test('a policy’s ancestors are written beside those of others, as far as there is room', (t) => {
  const parentRef = { group: '', kind: 'Service', name: 'vault', namespace: 'shop' }
  const policy: ObjectStatus = {
    ...judged,
    kind: 'BackendTLSPolicy',
    of: 'ancestors',
    ancestors: [{ parentRef, conditions: [yes] }],
  }
  const other = { ancestorRef: { name: 'edge' }, controllerName: 'example.com/gateway', conditions: [] }
  const patch = patchFor(policy, { ancestors: [other] }, THEN)
  t.same(patch, {
    ancestors: [
      other,
      {
        ancestorRef: parentRef,
        controllerName: CONTROLLER_NAME,
        conditions: [{ ...yes, lastTransitionTime: THEN, observedGeneration: 3 }],
      },
    ],
  })
  t.equal(patchFor(policy, patch ?? {}, NOW), undefined)
  const full = Array.from({ length: 16 }, () => other)
  t.equal(patchFor(policy, { ancestors: full }, NOW), undefined)
  t.end()
})
