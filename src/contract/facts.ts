/** Facts of one request or connection, as routing and policy judge them: values only, no I/O. */

/** An HTTP request's facts. Implemented without copying by the HTTP engine. */
export interface HttpFacts {
  /** As sent; methods are case-sensitive (RFC 9110 section 9.1). */
  readonly method: string
  /** The raw path, percent-encoding untouched, without query; begins with `/` (or is `*` for OPTIONS). */
  readonly path: string
  /** Without the `?`; empty when there is none. */
  readonly query: string
  /** Host header or authority of an absolute-form target, as sent (may carry a port). Empty if absent. */
  readonly authority: string
  /** Value of a header by its lower-case name; several lines are joined with `, `; undefined if absent. */
  header(lowerCaseName: string): string | undefined
}

/** A verified peer. */
export interface PeerIdentity {
  readonly namespace: string
  readonly serviceAccount: string
  /** Without `spiffe://`, as Istio policies write it: `cluster.local/ns/NS/sa/SA`. */
  readonly principal: string
}

/**
 * What a TLS client asks for by name (SNI): lower case, without a dot at the end, empty when it names nothing; null when
 * the name cannot be told for certain; undefined where no TLS of the application was seen.
 */
export type ServerName = string | null | undefined

/** A connection's facts at the destination. */
export interface ConnectionFacts {
  /** Absent: the peer has no verified identity (plain text from outside the mesh). */
  readonly source?: PeerIdentity
  /** Peer address in canonical text. */
  readonly sourceIp: string
  readonly destinationIp: string
  readonly destinationPort: number
  /** Of the TLS that the application speaks; the mesh's own TLS carries none of its names. */
  readonly sni?: ServerName
}

export type Verdict =
  | { readonly kind: 'allow'; readonly policy?: string; readonly rule?: number; readonly reason: string }
  | {
      readonly kind: 'deny'
      readonly policy?: string
      readonly rule?: number
      readonly reason: string
      /** The path cannot be normalised and a policy looks at paths: the refusal is 400, not 403. */
      readonly malformedPath?: boolean
    }
