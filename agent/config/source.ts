/** Which node this is, and where the objects of the mesh come from. */
import { resolve } from 'node:path'
import { STATE_DIR_DEFAULT } from '#contract'
import { anyText, matching, pathOf, type Subject } from './flag.ts'

/** Where the objects of the mesh come from. */
export type SourceConfig =
  | { readonly kind: 'directory'; readonly directory: string }
  /** `kubeconfig` undefined: as a pod of the cluster. */
  | { readonly kind: 'kubernetes'; readonly kubeconfig: string | undefined }

export interface SourceSettings {
  readonly node: string
  readonly source: SourceConfig
  readonly stateDir: string
}

export const SOURCE: Subject<SourceSettings> = {
  flags: {
    node: {
      value: 'NAME',
      says: "this node, as in the pods' spec.nodeName",
      required: '--node node-1',
      wrong: matching(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'a node name (lower case, digits, - and .)'),
    },
    manifests: { value: 'DIR', says: 'directory of Kubernetes YAML, followed live', wrong: anyText },
    kubernetes: { says: 'follow the objects of the cluster' },
    kubeconfig: {
      value: 'FILE',
      says: 'with --kubernetes: how to reach the API server',
      defaultSays: 'as a pod of the cluster does',
      wrong: anyText,
    },
    'state-dir': {
      value: 'DIR',
      says: 'lock, sockets, and what was done to which pod',
      default: STATE_DIR_DEFAULT,
      wrong: anyText,
    },
  },
  wrong(given) {
    const errors: string[] = []
    const inCluster = given.has('kubernetes')
    if (inCluster === given.has('manifests')) {
      errors.push(
        inCluster
          ? '--manifests: not together with --kubernetes; keep one of them.'
          : '--manifests: missing; give it as --manifests ./manifests, or --kubernetes in a cluster (see weir agent --help).',
      )
    }
    if (given.has('kubeconfig') && !inCluster) errors.push('--kubeconfig: only with --kubernetes.')
    return errors
  },
  read: (given) => ({
    node: given.text('node'),
    source: given.has('kubernetes')
      ? { kind: 'kubernetes', kubeconfig: pathOf(given, 'kubeconfig') }
      : { kind: 'directory', directory: resolve(given.text('manifests')) },
    stateDir: resolve(given.text('state-dir')),
  }),
}
