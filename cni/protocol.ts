/**
 * What the plugin and the agent say to each other over the unix socket: one JSON line asks, one answers; before the
 * answer to ADD the agent may say `opted-in`, so that the plugin knows what a silence after that means.
 */

/** A longer request is refused; GC names every attachment of the node. */
export const MAX_REQUEST_BYTES = 256 * 1024
export const MAX_REPLY_BYTES = 16 * 1024
const MAX_TEXT = 4096
const MAX_ADDRESSES = 32
const MAX_ATTACHMENTS = 4096

export interface PodRef {
  readonly namespace: string
  readonly name: string
  /** Runtimes older than Kubernetes 1.23 do not tell it. */
  readonly uid?: string
}

export interface AttachmentKey {
  readonly containerId: string
  readonly ifName: string
}

export interface CniAttachment extends AttachmentKey {
  /** Name of the network configuration. */
  readonly network: string
  /** Path, as the runtime sees it. */
  readonly netns: string
  readonly pod: PodRef
  /** Without prefix length, as the plugins before us gave them; empty when they gave none. */
  readonly addresses: readonly string[]
}

export type CniRequest =
  | { readonly command: 'ADD' | 'CHECK'; readonly attachment: CniAttachment }
  | { readonly command: 'DEL'; readonly attachment: AttachmentKey }
  /** `valid`: all that still exist of that network. */
  | { readonly command: 'GC'; readonly network: string; readonly valid: readonly AttachmentKey[] }
  | { readonly command: 'STATUS' }

export type CniReply =
  /** The pod is opted in; whether it is enrolled follows. */
  | { readonly kind: 'opted-in' }
  | { readonly kind: 'enrolled' }
  | { readonly kind: 'not-opted-in' }
  /** Opted in, and not enrolled. */
  | { readonly kind: 'failed'; readonly why: string }
  /** The agent does not know the pod. */
  | { readonly kind: 'unknown'; readonly why: string }
  | { readonly kind: 'malformed'; readonly why: string }
  /** To DEL, GC and STATUS. */
  | { readonly kind: 'done' }

export type ParsedRequest =
  | { readonly kind: 'request'; readonly request: CniRequest }
  | { readonly kind: 'malformed'; readonly why: string }

/** Reads one line of a client. */
export function parseRequest(line: string): ParsedRequest {
  const value = parseRecord(line)
  if (value === undefined) return malformed('the request is not a JSON object')
  const { command } = value
  switch (command) {
    case 'STATUS':
      return { kind: 'request', request: { command } }
    case 'DEL': {
      const attachment = readKey(value['attachment'])
      return attachment === undefined
        ? malformed('attachment: containerId and ifName are needed')
        : { kind: 'request', request: { command, attachment } }
    }
    case 'GC': {
      const { network, valid } = value
      if (!isText(network)) return malformed('network: a name is needed')
      if (!Array.isArray(valid) || valid.length > MAX_ATTACHMENTS) {
        return malformed(`valid: a list of at most ${MAX_ATTACHMENTS} is needed`)
      }
      const keys = valid.map(readKey)
      return keys.every((key) => key !== undefined)
        ? { kind: 'request', request: { command, network, valid: keys } }
        : malformed('valid: each needs containerId and ifName')
    }
    case 'ADD':
    case 'CHECK': {
      const attachment = readAttachment(value['attachment'])
      return typeof attachment === 'string'
        ? malformed(attachment)
        : { kind: 'request', request: { command, attachment } }
    }
    default:
      return malformed('command: expected ADD, CHECK, DEL, GC or STATUS')
  }
}

/** Reads one line of the agent; undefined when it is none of the replies. */
export function parseReply(line: string): CniReply | undefined {
  const { kind, why } = parseRecord(line) ?? {}
  switch (kind) {
    case 'opted-in':
    case 'enrolled':
    case 'not-opted-in':
    case 'done':
      return { kind }
    case 'failed':
    case 'unknown':
    case 'malformed':
      return typeof why === 'string' ? { kind, why } : undefined
    default:
      return undefined
  }
}

export function renderLine(message: CniRequest | CniReply): string {
  return `${JSON.stringify(message)}\n`
}

export function parseRecord(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    return asRecord(JSON.parse(text))
  } catch {
    return undefined
  }
}

export function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isRecord ? (value as Readonly<Record<string, unknown>>) : undefined
}

function readAttachment(value: unknown): CniAttachment | string {
  const { network, netns, pod, addresses } = asRecord(value) ?? {}
  const key = readKey(value)
  if (key === undefined) return 'attachment: containerId and ifName are needed'
  if (!isText(network)) return 'attachment.network: a name is needed'
  if (!isText(netns) || !netns.startsWith('/')) return 'attachment.netns: an absolute path is needed'
  if (!Array.isArray(addresses) || addresses.length > MAX_ADDRESSES || !addresses.every(isText)) {
    return `attachment.addresses: a list of at most ${MAX_ADDRESSES} texts is needed`
  }
  const { namespace, name, uid } = asRecord(pod) ?? {}
  if (!isText(namespace) || !isText(name)) return 'attachment.pod: namespace and name are needed'
  if (uid !== undefined && !isText(uid)) return 'attachment.pod.uid: expected a text'
  return { ...key, network, netns, pod: { namespace, name, ...(uid === undefined ? {} : { uid }) }, addresses }
}

function readKey(value: unknown): AttachmentKey | undefined {
  const { containerId, ifName } = asRecord(value) ?? {}
  return isText(containerId) && isText(ifName) ? { containerId, ifName } : undefined
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_TEXT && !value.includes('\0')
}

function malformed(why: string): ParsedRequest {
  return { kind: 'malformed', why }
}
