import t from 'tap'
import { KubernetesError } from '#kubernetes'
import { parseObject } from '#resources'
import { NamedConfigMaps } from '../../../../src/discovery/kubernetes/named-config-maps.ts'

function policy(name: string) {
  const outcome = parseObject({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'BackendTLSPolicy',
    metadata: { name: 'p', namespace: 'shop' },
    spec: {
      targetRefs: [{ kind: 'Service', name: 'web' }],
      validation: { hostname: 'a.example', caCertificateRefs: [{ kind: 'ConfigMap', name }] },
    },
  })
  if (outcome.kind !== 'object') throw new Error(JSON.stringify(outcome))
  return outcome.object
}

t.test(
  'only what policies name is asked for, and again; what is deleted goes, what cannot be asked stays',
  async (t) => {
    const asked: string[] = []
    let answer: () => unknown = () => ({ metadata: { name: 'a', namespace: 'shop' }, data: { 'ca.crt': 'one' } })
    let changed = Promise.withResolvers<void>()
    let turn = Promise.withResolvers<void>()
    const closing = new AbortController()
    const maps = new NamedConfigMaps({
      api: {
        request: async (method: string, path: string) => {
          asked.push(`${method} ${path}`)
          turn.resolve()
          return answer()
        },
      } as never,
      periodMs: 5,
      answerTimeoutMs: 1000,
      signal: closing.signal,
      onChange: () => changed.resolve(),
    })
    const next = async (): Promise<void> => {
      await changed.promise
      changed = Promise.withResolvers()
    }
    maps.follow([])
    t.same(asked, [], 'nobody is asked for nothing')
    maps.follow([policy('a')])
    await next()
    t.match(maps.objects, [{ kind: 'ConfigMap', data: { 'ca.crt': 'one' } }])
    t.same([...new Set(asked)], ['GET /api/v1/namespaces/shop/configmaps/a'])
    answer = () => ({ metadata: { name: 'a', namespace: 'shop' }, data: { 'ca.crt': 'two' } })
    await next()
    t.match(maps.objects, [{ data: { 'ca.crt': 'two' } }])
    answer = () => {
      throw new KubernetesError({ status: 403, reason: 'Forbidden', message: 'no' })
    }
    turn = Promise.withResolvers()
    await turn.promise
    t.match(maps.objects, [{ data: { 'ca.crt': 'two' } }])
    answer = () => {
      throw new KubernetesError({ status: 404, reason: 'NotFound', message: 'no' })
    }
    await next()
    t.same(maps.objects, [])
    closing.abort()
    await maps.ended()
  },
)
