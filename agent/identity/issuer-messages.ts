/**
 * What the agent and the process that makes certificates for it say to each other, over Node's IPC channel alone:
 * keys are in it.
 */
import type { WeirErrorCode } from '#base'
import type { CaSnapshot, RevocationList } from '#identity/ca'
import type { IdentityMaterial } from './issuer.ts'

export type IssuerConfig =
  /** A CA for the life of the agent. */
  | { readonly kind: 'memory' }
  /** `--ca-dir`; made when empty. */
  | { readonly kind: 'directory'; readonly directory: string }
  /** `--ca`, `--ca-root`, `--join-token`. */
  | {
      readonly kind: 'remote'
      readonly address: string
      readonly rootFile: string
      readonly tokenFile: string
      /** The agent's own; absent where it is not known. */
      readonly node?: string
    }

export interface CertificateRequest {
  readonly spiffeId: string
  readonly ttlMs: number
}

export interface RevocationListRequest {
  /** The file's text. */
  readonly pem: string
  /** Certificates of the CAs that may have signed it. */
  readonly issuersPem: string
}

/** Neither: only how things stand. */
export interface IssuerRequest {
  readonly certificate?: CertificateRequest
  readonly revocationList?: RevocationListRequest
}

export interface IssuerAnswer {
  readonly description: string
  /** As known now; absent while none is. */
  readonly trustBundlePem?: string
  /** Where a certificate was asked for. */
  readonly material?: IdentityMaterial
  /** Where one was to be read; its end is absent when it has none. */
  readonly revocationList?: Omit<RevocationList, 'nextUpdateMs'> & { readonly nextUpdateMs?: number }
}

export type AgentToIssuer =
  /** First of all. The snapshot is what an earlier process told last. */
  | { readonly kind: 'begin'; readonly config: IssuerConfig; readonly snapshot?: CaSnapshot }
  | { readonly kind: 'ask'; readonly id: number; readonly request: IssuerRequest }
  | { readonly kind: 'cancel'; readonly id: number }

export type IssuerToAgent =
  /** Comes before the answers that follow from it. */
  | { readonly kind: 'snapshot'; readonly snapshot: CaSnapshot }
  | { readonly kind: 'warning'; readonly line: string }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: IssuerAnswer }
  | { readonly kind: 'failure'; readonly id: number; readonly code?: WeirErrorCode; readonly message: string }
