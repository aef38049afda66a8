/** The Kubernetes API server: how it is found, requests to it, watches of it. */
export type {
  KubernetesApi,
  KubernetesApiOptions,
  Method,
  Query,
  RequestOptions,
  WatchOptions,
} from './kubernetes-api.ts'
export { openKubernetesApi } from './kubernetes-api.ts'
export { KubernetesConfigError, KubernetesError } from './kubernetes-error.ts'
export type { WatchEvent } from './watch-lines.ts'
