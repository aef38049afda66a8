/**
 * Nodes proved by tokens of the cluster: a projected token of the agent's service account, which the API server
 * reviews (authentication.k8s.io/v1 TokenReview) and which is bound to the pod, and so to the node, it was made for.
 */
import { createHash } from 'node:crypto'
import { errorLine } from '#base'
import { type KubernetesApi, KubernetesError } from '#kubernetes'
import type { NodeProof } from './node-proof.ts'

export interface TokenReviewOptions {
  readonly api: Pick<KubernetesApi, 'request'>
  /** The token must be meant for us (its `aud`). */
  readonly audience: string
  /** NAMESPACE/NAME of the agents' service account: no other may ask for the certificates of a node. */
  readonly agentAccount: string
  now(): number
}

/** A node that starts asks for many certificates with one token. */
const REMEMBERED_MS = 10_000
const MAX_REMEMBERED = 4096
const MAX_TOKEN_CHARACTERS = 16 << 10
const EXTRA = 'authentication.kubernetes.io/'

interface Remembered {
  readonly node: string
  readonly untilMs: number
}

export class TokenReviews {
  readonly #options: TokenReviewOptions
  /** By the token's hash. */
  readonly #known = new Map<string, Remembered>()

  constructor(options: TokenReviewOptions) {
    this.#options = options
  }

  async prove(token: string): Promise<NodeProof> {
    if (token.length > MAX_TOKEN_CHARACTERS) return nobody('the token is too long')
    const key = createHash('sha256').update(token).digest('base64')
    const known = this.#known.get(key)
    if (known !== undefined && this.#options.now() < known.untilMs) return { kind: 'node', node: known.node }
    this.#known.delete(key)
    let proof: NodeProof
    try {
      proof = await this.#review(token)
    } catch (thrown) {
      if (thrown instanceof KubernetesError && thrown.status === 403) {
        return unknown('the CA may not create tokenreviews: give its service account the role of daemonset.yaml')
      }
      return unknown(`the API server cannot be asked about the token: ${errorLine(thrown)}`)
    }
    if (proof.kind === 'node') {
      const [oldest] = this.#known.keys()
      if (this.#known.size >= MAX_REMEMBERED && oldest !== undefined) this.#known.delete(oldest)
      this.#known.set(key, { node: proof.node, untilMs: this.#options.now() + REMEMBERED_MS })
    }
    return proof
  }

  async #review(token: string): Promise<NodeProof> {
    const { api, audience, agentAccount } = this.#options
    const review = await api.request('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: [audience] },
      },
    })
    const status = member(review, 'status')
    if (member(status, 'authenticated') !== true) return nobody('the API server does not know the token')
    // One that knows no audiences answers without any.
    if (!texts(member(status, 'audiences')).includes(audience)) return nobody(`the token is not for ${audience}`)
    const user = member(status, 'user')
    const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(text(member(user, 'username'))) ?? []
    if (`${namespace}/${name}` !== agentAccount) {
      return nobody(`the token is of ${text(member(user, 'username')) || 'nobody'}, not of ${agentAccount}`)
    }
    const extra = member(user, 'extra')
    const [node] = texts(member(extra, `${EXTRA}node-name`))
    if (node !== undefined) return { kind: 'node', node }
    const [podName] = texts(member(extra, `${EXTRA}pod-name`))
    const [podUid] = texts(member(extra, `${EXTRA}pod-uid`))
    if (namespace === undefined || podName === undefined || podUid === undefined) {
      return nobody('the token is not bound to a pod: mount it as a projected service account token')
    }
    // Before Kubernetes 1.30 a token does not name the node.
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(podName)}`
    const pod = await api.request('GET', path)
    const nodeName = text(member(member(pod, 'spec'), 'nodeName'))
    const same = text(member(member(pod, 'metadata'), 'uid')) === podUid
    return same && nodeName !== '' ? { kind: 'node', node: nodeName } : nobody("the token's pod runs on no node")
  }
}

function nobody(why: string): NodeProof {
  return { kind: 'nobody', why }
}

function unknown(why: string): NodeProof {
  return { kind: 'unknown', why }
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
}
