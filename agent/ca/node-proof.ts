/** What a bearer token proves: which node is asking. */

export type NodeProof =
  | { readonly kind: 'node'; readonly node: string }
  /** `why` is for the log and the asker; it never quotes the token. */
  | { readonly kind: 'nobody'; readonly why: string }
  /** It cannot be told now: ask again. */
  | { readonly kind: 'unknown'; readonly why: string }

export type ProveNode = (token: string) => Promise<NodeProof>
