/** Are Weir's pods of one version, and of that of this program. Told by their images and their version labels. */
import { type CheckLine, okLine, warningLine } from '#contract'
import { type KubernetesApi, KubernetesError } from '#kubernetes'
import { listObjects } from './api-list.ts'
import { listed } from './listed.ts'

export interface WeirPod {
  readonly name: string
  readonly node: string
  /** Of the label app.kubernetes.io/version; empty without it. */
  readonly version: string
  /** Of all its containers. */
  readonly images: readonly string[]
}

const SELECTOR = 'app.kubernetes.io/name=weir'
const VERSION_LABEL = 'app.kubernetes.io/version'

/** @param version of this program @param namespace where Weir is installed */
export async function agentVersionLines(
  api: Pick<KubernetesApi, 'request'>,
  {
    version,
    namespace,
    signal,
  }: { readonly version: string; readonly namespace: string; readonly signal: AbortSignal },
): Promise<readonly CheckLine[]> {
  try {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`
    const pods = await listObjects(api, path, { labelSelector: SELECTOR, signal })
    return [versionSkewLine(version, pods.map(weirPod))]
  } catch (thrown) {
    if (!(thrown instanceof KubernetesError) || thrown.status !== 403) throw thrown
    return [warningLine(`versions: the pods of ${namespace} cannot be listed`, 'grant list pods there')]
  }
}

export function versionSkewLine(version: string, pods: readonly WeirPod[]): CheckLine {
  const other = pods.filter((pod) => pod.version !== '' && pod.version !== version)
  if (other.length > 0) {
    const names = other.map((pod) => `${pod.name}${pod.node === '' ? '' : ` on ${pod.node}`} is ${pod.version}`)
    return warningLine(
      `versions: this is ${version}; ${listed(names)}`,
      'wait for the upgrade to end (kubectl rollout status), or take its cause away',
    )
  }
  const images = [...new Set(pods.flatMap((pod) => pod.images))].sort()
  if (images.length > 1) {
    return warningLine(`versions: Weir's pods run ${images.length} images: ${listed(images)}`, 'let all have one')
  }
  return okLine(`versions: ${version}${pods.length === 0 ? '' : `, as all ${pods.length} pods of Weir`}`)
}

interface PodLike {
  readonly metadata?: { readonly name?: string; readonly labels?: Readonly<Record<string, string>> }
  readonly spec?: { readonly nodeName?: string; readonly containers?: readonly { readonly image?: string }[] }
}

function weirPod(value: unknown): WeirPod {
  const { metadata = {}, spec = {} }: PodLike = typeof value === 'object' && value !== null ? value : {}
  return {
    name: metadata.name ?? '?',
    node: spec.nodeName ?? '',
    version: metadata.labels?.[VERSION_LABEL] ?? '',
    images: (spec.containers ?? []).map(({ image = '' }) => image).filter((image) => image !== ''),
  }
}
