import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { accessLine, neededAccess } from '../../../../agent/doctor/needed-access.ts'

interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly verbs: readonly string[]
}

interface RoleLike {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly rules?: readonly Rule[]
}

/** One text per group, resource, verb, name and namespace. */
function granted({ metadata: { namespace = '' }, rules = [] }: RoleLike): string[] {
  return rules.flatMap(({ apiGroups, resources, resourceNames = [''], verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) =>
        resourceNames.flatMap((name) => verbs.map((verb) => [verb, resource, group, name, namespace].join(' '))),
      ),
    ),
  )
}

t.test('what is asked for is what daemonset.yaml grants the agent, no more and no less', async (t) => {
  const text = readFileSync(join(import.meta.dirname, '../../../../daemonset.yaml'), 'utf8')
  const roles = parseAllDocuments(text)
    .map((document) => document.toJS() as RoleLike)
    .filter(({ kind, metadata }) => /^(Cluster)?Role$/.test(kind) && metadata.name === 'weir-agent')
  t.equal(roles.length, 2)
  const asked = neededAccess('weir-system').map(({ verb, resource, group, name = '', namespace = '' }) =>
    [verb, resource, group, name, namespace].join(' '),
  )
  t.strictSame(asked.sort(), roles.flatMap(granted).sort())
})

t.test('what is missing is named', async (t) => {
  t.match(accessLine([], 40), { result: 'ok', what: /all 40/ })
  const missing = neededAccess('weir-system').filter(({ resource }) => ['endpointslices', 'leases'].includes(resource))
  t.match(accessLine(missing, 40), {
    result: 'failure',
    what: /6 of 40 are missing: get endpointslices.discovery.k8s.io, list .*, get leases.coordination.k8s.io in weir-system, .* and 1 more/,
    remedy: /daemonset.yaml/,
  })
})
