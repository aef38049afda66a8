/** What the CA decides about a request, from the token to the certificate. */
import { WeirError } from '#base'
import { parseSpiffeId } from '#identity'
import { type CertificateAuthority, type IssuedCertificate, readSigningRequest } from '#identity/ca'
import type { NodeProof, ProveNode } from './node-proof.ts'

export interface IssuanceRequest {
  /** Of the `authorization` metadata; undefined when there is none. */
  readonly authorization: string | undefined
  readonly csr: string
  /** What the asker names as the identity; undefined when only the signing request names one. */
  readonly identity: string | undefined
  /** 0 when left to the CA. */
  readonly ttlMs: number
}

export type IssuanceOutcome =
  | { readonly kind: 'issued'; readonly node: string; readonly identity: string; readonly issued: IssuedCertificate }
  | {
      readonly kind: 'refused'
      /** `unavailable`: it may be granted when asked again. */
      readonly reason: 'unauthenticated' | 'denied' | 'invalid' | 'unavailable'
      /** For the log and the asker. */
      readonly why: string
      /** Undefined when the token is nobody's. */
      readonly node: string | undefined
      readonly identity: string | undefined
    }

type Refusal = Extract<IssuanceOutcome, { kind: 'refused' }>['reason']

export interface IssuanceRules {
  readonly authority: () => CertificateAuthority
  readonly prove: ProveNode
  /** Whether a pod of that account runs on that node. */
  readonly runsOn: (node: string, namespace: string, serviceAccount: string) => boolean | Promise<boolean>
  readonly trustDomain: string
  readonly ttlMs: number
  readonly maxTtlMs: number
}

/** @throws WeirError when the CA itself cannot sign */
export async function decideIssuance(
  request: IssuanceRequest,
  rules: IssuanceRules,
  nowMs: number,
): Promise<IssuanceOutcome> {
  const [, token] = /^bearer +(\S+)$/i.exec(request.authorization ?? '') ?? []
  const proof: NodeProof =
    token === undefined ? { kind: 'nobody', why: 'no bearer token was sent' } : await rules.prove(token)
  const node = proof.kind === 'node' ? proof.node : undefined
  let identity = request.identity
  const refuse = (reason: Refusal, why: string): IssuanceOutcome => ({
    kind: 'refused',
    reason,
    why,
    node,
    identity: identity?.slice(0, 512),
  })
  if (proof.kind === 'unknown') return refuse('unavailable', proof.why)
  if (proof.kind === 'nobody') return refuse('unauthenticated', proof.why)
  const read = await tryReadRequest(request.csr)
  if (read instanceof WeirError) return refuse('invalid', read.message)
  const [firstName] = read.names
  identity ??= firstName?.startsWith('uri:') ? firstName.slice('uri:'.length) : undefined
  if (identity === undefined) return refuse('invalid', 'the request names no identity')
  const parts = parseSpiffeId(identity)
  if (parts === undefined) return refuse('invalid', 'that is not the SPIFFE ID of a workload')
  if (parts.trustDomain !== rules.trustDomain) return refuse('denied', `the trust domain here is ${rules.trustDomain}`)
  if (!(await rules.runsOn(proof.node, parts.namespace, parts.serviceAccount))) {
    return refuse('denied', `no pod of ${parts.namespace}/${parts.serviceAccount} runs on node ${proof.node}`)
  }
  if (read.names.some((name) => name !== `uri:${identity}`)) {
    return refuse('denied', 'the signing request names another identity, or more than one')
  }
  const ttlMs = Math.min(request.ttlMs > 0 ? request.ttlMs : rules.ttlMs, rules.maxTtlMs)
  const issued = await rules.authority().sign({ publicKey: read.publicKey, spiffeId: identity, ttlMs, nowMs })
  return { kind: 'issued', node: proof.node, identity, issued }
}

async function tryReadRequest(csr: string) {
  try {
    return await readSigningRequest(csr)
  } catch (thrown) {
    if (thrown instanceof WeirError) return thrown
    throw thrown
  }
}
