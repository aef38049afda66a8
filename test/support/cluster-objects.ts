/** Objects of a cluster, as small as the API server takes them. */
import type { FakeObject } from './fake-objects.ts'

export function namespaceObject(name: string, labels: Readonly<Record<string, string>> = {}): FakeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }
}

export function podObject(
  name: string,
  options: {
    readonly namespace?: string
    readonly node?: string
    readonly ip?: string
    readonly phase?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  } = {},
): FakeObject {
  const { namespace = 'shop', node, ip, phase = 'Running', labels = {}, annotations = {} } = options
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels, annotations },
    spec: { ...(node === undefined ? {} : { nodeName: node }), containers: [{ name: 'app', image: 'app:1' }] },
    status: { phase, ...(ip === undefined ? {} : { podIP: ip, podIPs: [{ ip }] }) },
  }
}

export function serviceObject(name: string, port = 80, namespace = 'shop'): FakeObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    spec: { selector: { app: name }, ports: [{ port }] },
  }
}

export function policyObject(
  name: string,
  spec: Readonly<Record<string, unknown>> = {},
  namespace = 'shop',
): FakeObject {
  return { apiVersion: 'weir.dev/v1alpha1', kind: 'AuthorizationPolicy', metadata: { name, namespace }, spec }
}

export function routeObject(name: string, service: string, namespace = 'shop'): FakeObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name, namespace },
    spec: {
      parentRefs: [{ group: '', kind: 'Service', name: service, port: 80 }],
      rules: [{ backendRefs: [{ name: service, port: 80 }] }],
    },
  }
}
