/** Istio's CA API (`istio.v1.auth.IstioCertificateService`): its messages, and its definition for a gRPC library. */
import { join } from 'node:path'
import type { ServiceDefinition } from '@grpc/proto-loader'

export interface CreateCertificateRequest {
  /** PKCS#10, PEM. */
  readonly csr: string
  /** Seconds; 0 leaves it to the CA. */
  readonly validity_duration: number
  /** google.protobuf.Struct as JSON-like fields; null when the client sent none. */
  readonly metadata: { readonly fields: Readonly<Record<string, { readonly stringValue?: string }>> } | null
}

export interface CreateCertificateResponse {
  readonly cert_chain: readonly string[]
  readonly root_cert: { readonly ca_cert: readonly string[] } | null
}

/** Key of the request's metadata under which an agent names the identity it asks for, as ztunnel does. */
export const IMPERSONATED_IDENTITY = 'ImpersonatedIdentity'

/** Keys of the metadata in which `weir ca` tells a node that it refuses how it sees it. */
export const TOLD_REFUSED = {
  /** Whose token it is. */
  node: 'weir-node',
  trustDomain: 'weir-trust-domain',
} as const

/** Loads the protobuf library, which only who speaks the API needs. */
export async function loadIstioCaService(): Promise<ServiceDefinition> {
  const { loadSync } = await import('@grpc/proto-loader')
  const definitions = loadSync(join(import.meta.dirname, 'istio-ca.proto'), {
    keepCase: true,
    longs: Number,
    defaults: true,
    arrays: true,
  })
  // The file beside this one defines it.
  return definitions['istio.v1.auth.IstioCertificateService'] as ServiceDefinition
}
