/** What the log thread is told of the agent's settings and of the mesh. */
import { join } from 'node:path'
import type { MeshObject } from '#contract'
import type { AccessPlace, LogPod, LogsConfig } from '#logs'
import type { AgentConfig } from '../config.ts'

/** Undefined: no logs are read. */
export function logsConfigOf(config: AgentConfig, environment: NodeJS.ProcessEnv): LogsConfig | undefined {
  const { which, root, keepMs, keepMib, file, fileMib, files, otlpUrl } = config.logs
  if (which === 'off') return undefined
  return {
    node: config.node,
    root,
    which,
    stateFolder: join(config.stateDir, 'logs'),
    keepMs,
    keepBytes: keepMs === 0 ? 0 : keepMib << 20,
    file: file === undefined ? undefined : { path: file, maxBytes: fileMib * (1 << 20), files },
    otlpUrl,
    access: accessPlace(config.accessLog, environment),
  }
}

/** Proxies write to the agent's own standard output: in a pod it is among the node's logs. */
function accessPlace(accessLog: string, environment: NodeJS.ProcessEnv): AccessPlace {
  if (accessLog === 'off') return { kind: 'none', why: 'the agent runs with --access-log off' }
  if (accessLog !== 'stdout') return { kind: 'file', path: accessLog }
  const namespace = environment['POD_NAMESPACE']
  const name = environment['HOSTNAME']
  if (namespace !== undefined && name !== undefined) return { kind: 'pod', namespace, name }
  return {
    kind: 'none',
    why: "the access log goes to the agent's standard output; give it a file with --access-log FILE",
  }
}

export function localPods(world: readonly MeshObject[], node: string): readonly LogPod[] {
  return world
    .filter((object) => object.kind === 'workload')
    .filter((workload) => workload.node === node)
    .map(({ uid, namespace, name, serviceAccount, owner, labels, optedIn }) => ({
      uid,
      namespace,
      name,
      node,
      serviceAccount,
      owner,
      labels,
      enrolled: optedIn,
    }))
}
