/**
 * A pod of the DaemonSet in daemonset.yaml, as its controller and a kubelet would make it on a node of a lab: the template's
 * security context, arguments, environment and volumes, not a copy of them kept here.
 */
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import type { ContainerPodSpec, HostMount, SecurityContext } from './lab-container-pod.ts'
import type { LabMachine } from './lab-machine.ts'

const MANIFEST = join(import.meta.dirname, '../../daemonset.yaml')

export interface DaemonSetPodOptions {
  /** The node: `hostPath`s are its own. */
  readonly machine: LabMachine
  /** What is started instead of the template's arguments, in which $(NAME)s have been filled in. */
  readonly args?: (args: readonly string[]) => readonly string[]
  /** Files of each volume that a cluster would fill: config maps, tokens. By the volume's name, then the file's. */
  readonly files?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Besides those of the template. */
  readonly mounts?: readonly HostMount[]
}

interface Container {
  readonly image: string
  readonly args?: readonly string[]
  readonly envFrom?: readonly { readonly configMapRef: { readonly name: string } }[]
  readonly env?: readonly {
    readonly name: string
    readonly value?: string
    readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } }
  }[]
  readonly securityContext?: SecurityContext
  readonly volumeMounts?: readonly ({ readonly name: string } & Omit<HostMount, 'hostPath'>)[]
}

interface Volume {
  readonly name: string
  readonly hostPath?: { readonly path: string; readonly type?: string }
  readonly emptyDir?: object
  readonly projected?: { readonly sources: readonly Readonly<Record<string, { readonly optional?: boolean }>>[] }
}

interface Template {
  readonly metadata: { readonly labels?: Record<string, string>; readonly annotations?: Record<string, string> }
  readonly spec: {
    readonly serviceAccountName?: string
    readonly hostNetwork?: boolean
    readonly hostPID?: boolean
    readonly containers: readonly [Container]
    readonly volumes?: readonly Volume[]
  }
}

interface ManifestObject {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace: string }
  readonly data?: Readonly<Record<string, string>>
  readonly spec?: { readonly template: Template }
}

/** Makes what the volumes need on the node, and describes the pod. */
export function daemonSetPod(options: DaemonSetPodOptions): ContainerPodSpec {
  const objects = parseAllDocuments(readFileSync(MANIFEST, 'utf8')).map((document) => document.toJS() as ManifestObject)
  const daemonSet = objects.find(({ kind }) => kind === 'DaemonSet')
  if (daemonSet?.spec === undefined) throw new Error(`${MANIFEST} has no DaemonSet`)
  const { name, namespace } = daemonSet.metadata
  const { metadata, spec } = daemonSet.spec.template
  const [container] = spec.containers
  const uid = randomUUID()
  const pod = `${name}-${uid.slice(0, 5)}`
  const env = environmentOf(container, objects, {
    'spec.nodeName': options.machine.name,
    'metadata.name': pod,
    'metadata.namespace': namespace,
    'metadata.uid': uid,
  })
  const args = (container.args ?? []).map((text) => text.replace(/\$\((\w+)\)/g, (all, key) => env[key] ?? all))
  const paths = volumePaths(spec.volumes ?? [], `/var/lib/kubelet/pods/${uid}/volumes`, options)
  return {
    name: pod,
    namespace,
    uid,
    serviceAccount: spec.serviceAccountName ?? 'default',
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    optedIn: undefined,
    hostNetwork: spec.hostNetwork ?? false,
    hostPid: spec.hostPID ?? false,
    image: container.image,
    args: options.args?.(args) ?? args,
    env,
    securityContext: container.securityContext ?? {},
    mounts: [
      ...(container.volumeMounts ?? []).map(({ name, ...mount }) => ({ ...mount, hostPath: paths.get(name) ?? '' })),
      ...(options.mounts ?? []),
    ],
  }
}

function environmentOf(
  { env = [], envFrom = [] }: Container,
  objects: readonly ManifestObject[],
  fields: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const maps = envFrom.map(({ configMapRef: { name } }) => {
    const map = objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === name)
    return map?.data ?? {}
  })
  const single = env.map(({ name, value, valueFrom }) => {
    const path = valueFrom?.fieldRef.fieldPath
    const text = path === undefined ? value : fields[path]
    if (text === undefined) throw new Error(`env ${name}: ${path} is not known of a pod of a lab`)
    return [name, text]
  })
  return Object.assign({}, ...maps, Object.fromEntries(single)) as Readonly<Record<string, string>>
}

/** Path on the node by the volume's name. */
function volumePaths(
  volumes: readonly Volume[],
  podDir: string,
  { machine, files = {} }: DaemonSetPodOptions,
): ReadonlyMap<string, string> {
  return new Map(
    volumes.map(({ name, hostPath, emptyDir, projected }) => {
      if (hostPath !== undefined) {
        prepareHostPath(machine.pathOf(hostPath.path), hostPath.type ?? '')
        return [name, hostPath.path]
      }
      const path = join(podDir, name)
      mkdirSync(machine.pathOf(path), { recursive: true })
      const contents = files[name]
      const isOptional = projected?.sources.every((source) => Object.values(source).every(({ optional }) => optional))
      if (contents === undefined && emptyDir === undefined && isOptional !== true)
        throw new Error(`Volume ${name}: give its \`files\``)
      for (const [file, text] of Object.entries(contents ?? {})) writeFileSync(machine.pathOf(join(path, file)), text)
      return [name, path]
    }),
  )
}

/** As a kubelet does: makes what may be made, refuses what must be there and is not. */
function prepareHostPath(path: string, type: string): void {
  if (type === 'DirectoryOrCreate') mkdirSync(path, { recursive: true })
  else if (type === 'FileOrCreate') {
    mkdirSync(dirname(path), { recursive: true })
    if (!existsSync(path)) writeFileSync(path, '')
  } else if (type === 'Directory' || type === 'File') {
    const found = statSync(path, { throwIfNoEntry: false })
    const fits = type === 'File' ? found?.isFile() : found?.isDirectory()
    if (fits !== true) throw new Error(`hostPath ${path} is not a ${type}`)
  }
}
