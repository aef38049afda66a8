/** What a real API server says to daemonset.yaml, and to policies of the kinds that it defines. */
import t from 'tap'
import { type KubernetesApi, openKubernetesApi } from '#kubernetes'
import { realApiServerFolder, startRealApiServer } from '../support/real-api-server.ts'
import { type Manifest, readManifests } from '../unit/deploy/manifests.ts'

const folder = realApiServerFolder()
const skip = folder === undefined ? 'KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver' : false

function create(api: KubernetesApi, manifest: Manifest): Promise<unknown> {
  const { apiVersion, kind, metadata } = manifest
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
  const plural = `${kind.toLowerCase().replace(/y$/, 'ie')}s`
  return api.request('POST', `${root}${scope}/${plural}`, { query: { fieldValidation: 'Strict' }, body: manifest })
}

const policy = (kind: string, name: string, spec: object): Manifest => {
  return { apiVersion: 'weir.dev/v1alpha1', kind, metadata: { name, namespace: 'weir-system' }, spec }
}

t.test('the API server takes every document, and judges policies as the definitions say', { skip }, async (t) => {
  await using server = await startRealApiServer(folder ?? '')
  await using api = await openKubernetesApi({ kubeconfig: await server.kubeconfig('admin') })
  for (const manifest of readManifests()) {
    await t.resolves(create(api, manifest), `${manifest.kind} ${manifest.metadata.name}`)
  }
  const good = policy('PeerAuthentication', 'good', { mtls: { mode: 'STRICT' } })
  await t.resolves(untilDefined(() => create(api, good)))
  const refused: readonly (readonly [RegExp, Manifest])[] = [
    [/unknown field "spec.ruls"/, policy('AuthorizationPolicy', 'a', { ruls: [] })],
    [/a DENY policy without rules never matches/, policy('AuthorizationPolicy', 'b', { action: 'DENY' })],
    [
      /cannot be combined/,
      policy('RequestAuthentication', 'c', { selector: {}, targetRef: { kind: 'Service', name: 'w' } }),
    ],
    [/needs issuer or jwksUri/, policy('RequestAuthentication', 'd', { jwtRules: [{}] })],
    [
      /go together/,
      policy('TrafficPolicy', 'f', {
        targetRefs: [{ kind: 'Service', name: 'w' }],
        loadBalancing: { algorithm: 'ConsistentHash' },
      }),
    ],
    [/only a Service can be targeted/, policy('TrafficPolicy', 'g', { targetRefs: [{ kind: 'Pod', name: 'w' }] })],
    [/needs a selector with labels/, policy('PeerAuthentication', 'e', { portLevelMtls: { 80: {} } })],
  ]
  for (const [message, manifest] of refused)
    await t.rejects(
      untilDefined(() => create(api, manifest)),
      { message },
    )
})

/** A kind is served some moments after its definition was taken. */
async function untilDefined<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 100; ; left--) {
    try {
      return await attempt()
    } catch (thrown) {
      if (left === 0 || !(thrown instanceof Error && 'status' in thrown && thrown.status === 404)) throw thrown
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
