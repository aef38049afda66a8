/** The Kubernetes source, apart from the others: what it takes to speak to an API server costs some 20 MiB. */

export type { KubernetesSource, KubernetesSourceOptions } from './kubernetes-source.ts'
export { openKubernetesSource } from './kubernetes-source.ts'
