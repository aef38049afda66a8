/**
 * What two agents of one node say to each other while one hands over to the other: JSON, one message per packet, some
 * with descriptors. What is not exactly one of these is no message.
 */
import type { ListenerSpec } from '#contract'

/** Of this language. An agent that hears of another says no, and the other waits for its end. */
export const HAND_OVER_VERSION = 1

/** From the one that comes. */
export type SuccessorMessage =
  | { readonly type: 'hello'; readonly version: number; readonly node: string; readonly pid: number }
  /** It could serve at once: knows the world, has proxies and certificates. */
  | { readonly type: 'ready' }
  /** All sockets are here. */
  | { readonly type: 'received'; readonly pods: number }
  /** All pods are served here. */
  | { readonly type: 'taken' }

/** From the one that goes. */
export type PredecessorMessage =
  | { readonly type: 'welcome'; readonly version: number; readonly pid: number }
  | { readonly type: 'refused'; readonly why: string }
  /** With descriptors: the pod's network namespace, then its listeners in that order. */
  | {
      readonly type: 'pod'
      readonly uid: string
      readonly workload: string
      readonly listeners: readonly ListenerSpec[]
    }
  /** There are no more. */
  | { readonly type: 'pods-sent'; readonly pods: number }
  /** The state directory is free. */
  | { readonly type: 'yours' }

export type HandOverMessage = SuccessorMessage | PredecessorMessage

export function renderMessage(message: HandOverMessage): Buffer {
  return Buffer.from(JSON.stringify(message))
}

/** Undefined for anything that is not a message of this version, and for more descriptors or fewer than it comes with. */
export function parseMessage(payload: Buffer, fdCount: number): HandOverMessage | undefined {
  let value: unknown
  try {
    value = JSON.parse(payload.toString('utf8'))
  } catch {
    return undefined
  }
  if (!isRecord(value)) return undefined
  const message = toMessage(value)
  const fdsWanted = message?.type === 'pod' ? 1 + message.listeners.length : 0
  return fdCount === fdsWanted ? message : undefined
}

function toMessage(value: Readonly<Record<string, unknown>>): HandOverMessage | undefined {
  const { type, version, node, pid, pods, why, uid, workload, listeners } = value
  switch (type) {
    case 'hello':
      return isCount(version) && typeof node === 'string' && isCount(pid) ? { type, version, node, pid } : undefined
    case 'welcome':
      return isCount(version) && isCount(pid) ? { type, version, pid } : undefined
    case 'refused':
      return typeof why === 'string' ? { type, why } : undefined
    case 'pod': {
      if (typeof uid !== 'string' || typeof workload !== 'string' || !Array.isArray(listeners)) return undefined
      const specs = listeners.map(toSpec)
      const whole = specs.filter((spec) => spec !== undefined)
      return whole.length === specs.length ? { type, uid, workload, listeners: whole } : undefined
    }
    case 'received':
    case 'pods-sent':
      return isCount(pods) ? { type, pods } : undefined
    case 'ready':
    case 'taken':
    case 'yours':
      return { type }
    default:
      return undefined
  }
}

const DIRECTIONS: readonly ListenerSpec['direction'][] = ['outbound', 'inbound', 'tunnel', 'dns-udp', 'dns-tcp']

function toSpec(value: unknown): ListenerSpec | undefined {
  if (!isRecord(value)) return undefined
  const { family, port } = value
  const direction = DIRECTIONS.find((name) => name === value['direction'])
  if (direction === undefined || (family !== 4 && family !== 6) || !isCount(port)) return undefined
  return { direction, family, port }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
