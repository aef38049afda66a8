/** Opens where the objects of the mesh come from. */
import { openDirectorySource, type SourceReport } from '#discovery'
import type { KubernetesApi } from '#kubernetes'
import type { KubernetesObject, NamespaceObject, PodObject } from '#resources'
import type { AgentConfig } from './config.ts'

export interface AgentSource extends AsyncDisposable {
  /** The first whole set has been told. */
  readonly opened: Promise<void>
  /** In a cluster. */
  readonly api?: KubernetesApi
  /** Since when the API server has not answered, ms since the epoch. */
  readonly staleSince?: () => number | undefined
  /** The newest there is, also when it has not been told yet; undefined: there is none. Absent where nobody can be asked. */
  readonly getPod?: (namespace: string, name: string) => Promise<PodObject | undefined>
  readonly getNamespace?: (name: string) => Promise<NamespaceObject | undefined>
}

export interface SourceListener {
  /** All objects there are, and what is wrong with them. */
  onObjects(objects: readonly KubernetesObject[], report: SourceReport): void
  /** What a source that has told nothing yet is waiting for. */
  onWaiting(report: SourceReport): void
}

/**
 * A directory that cannot be read is an error at once; an API server that does not answer is waited for.
 * @throws WeirError or SourceError, one line
 */
export async function openSource(
  { source, node }: Pick<AgentConfig, 'source' | 'node'>,
  listener: SourceListener,
): Promise<AgentSource> {
  if (source.kind === 'kubernetes') {
    // Its connections cost some 20 MiB, which a node without a cluster need not pay.
    const { openClusterSource } = await import('./cluster/cluster-source.ts')
    return openClusterSource(source.kubeconfig, node, listener)
  }
  const opened = await openDirectorySource({
    directory: source.directory,
    onChange: (objects, report) => listener.onObjects(objects, report),
  })
  return { opened: Promise.resolve(), [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() }
}
