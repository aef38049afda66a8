/** The objects of a cluster, and what can be asked of it besides. */
import { type KubernetesSource, openKubernetesSource } from '#discovery/kubernetes'
import { type KubernetesApi, KubernetesError, openKubernetesApi } from '#kubernetes'
import { type NamespaceObject, parseObject } from '#resources'
import type { AgentSource, SourceListener } from '../source.ts'

/** Told so early that whoever waits for a start hears of it. */
const STALE_AFTER_MS = 5_000

/**
 * @param kubeconfig undefined: as a pod of the cluster
 * @throws WeirError when it is not said how to reach the API server; one that does not answer is waited for
 */
export async function openClusterSource(
  kubeconfig: string | undefined,
  node: string,
  listener: SourceListener,
): Promise<AgentSource> {
  const api = await openKubernetesApi(kubeconfig === undefined ? {} : { kubeconfig })
  const abort = new AbortController()
  let source: KubernetesSource | undefined
  const opening = openKubernetesSource({
    api,
    node,
    signal: abort.signal,
    staleAfterMs: STALE_AFTER_MS,
    onChange: (objects, report) => listener.onObjects(objects, report),
    onWaiting: (report) => listener.onWaiting(report),
  }).then((opened) => {
    source = opened
    return opened
  })
  // Told by whoever waits for `opened`.
  opening.catch(() => undefined)
  return {
    opened: opening.then(() => undefined),
    api,
    staleSince: () => source?.staleSince,
    getPod: async (namespace, name) => (await opening).getPod(namespace, name),
    getNamespace: (name) => fetchNamespace(api, name),
    [Symbol.asyncDispose]: async () => {
      abort.abort()
      await opening.then(
        (opened) => opened[Symbol.asyncDispose](),
        () => undefined,
      )
      await api[Symbol.asyncDispose]()
    },
  }
}

async function fetchNamespace(api: KubernetesApi, name: string): Promise<NamespaceObject | undefined> {
  let found: unknown
  try {
    found = await api.request('GET', `/api/v1/namespaces/${encodeURIComponent(name)}`)
  } catch (thrown) {
    if (thrown instanceof KubernetesError && thrown.status === 404) return undefined
    throw thrown
  }
  const parsed = parseObject(found)
  return parsed.kind === 'object' && parsed.object.kind === 'Namespace' ? parsed.object : undefined
}
