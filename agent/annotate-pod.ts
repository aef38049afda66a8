/** Annotations of a pod, set by whoever runs the command: the agent itself may not change pods. */
import { errorLine } from '#base'

export interface AnnotateOptions {
  readonly namespace: string
  readonly name: string
  /** `null` removes one. */
  readonly annotations: Readonly<Record<string, string | null>>
  /** Undefined: as the pod that the command runs in. */
  readonly kubeconfig: string | undefined
}

const TIMEOUT_MS = 10_000

/** Undefined when it is done; else one line that says why not. Never rejects. */
export async function annotatePod(options: AnnotateOptions): Promise<string | undefined> {
  const { namespace, name, annotations, kubeconfig } = options
  try {
    // Loaded by this verb alone.
    const { openKubernetesApi } = await import('#kubernetes')
    await using api = await openKubernetesApi(kubeconfig === undefined ? {} : { kubeconfig })
    await api.request('PATCH', `/api/v1/namespaces/${namespace}/pods/${name}`, {
      body: { metadata: { annotations } },
      contentType: 'application/merge-patch+json',
      timeoutMs: TIMEOUT_MS,
    })
    return undefined
  } catch (thrown) {
    return errorLine(thrown)
  }
}
