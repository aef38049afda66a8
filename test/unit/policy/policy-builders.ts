/** Builders of policies, workloads and requests with sensible defaults. */
import type { AuthorizationPolicy, HttpFacts, Workload } from '#contract'

export function policy(parts: Partial<AuthorizationPolicy> = {}): AuthorizationPolicy {
  return {
    kind: 'authorization-policy',
    namespace: 'namespace',
    name: 'policy',
    scope: 'namespace',
    selector: {},
    services: [],
    action: 'ALLOW',
    rules: [],
    ...parts,
  }
}

export function workload(parts: Partial<Workload> = {}): Workload {
  return {
    kind: 'workload',
    namespace: 'shop',
    name: 'web-1',
    uid: 'uid-1',
    serviceAccount: 'web',
    labels: {},
    addresses: ['10.0.0.2'],
    node: 'node-1',
    hostNetwork: false,
    optedIn: true,
    ready: true,
    hostAddresses: [],
    probes: [],
    terminating: false,
    owner: 'web',
    app: 'web',
    version: 'v1',
    ...parts,
  }
}

export function request(
  parts: { method?: string; path?: string; authority?: string; headers?: Readonly<Record<string, string>> } = {},
): HttpFacts {
  const { method = 'GET', path = '/', authority = 'web', headers = {} } = parts
  return { method, path, authority, query: '', header: (name) => headers[name] }
}
