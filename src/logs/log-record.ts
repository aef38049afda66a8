/** A line as it is shown and shipped: JSON, with whose it is and which trace it names. */
import type { LogLine, LogPod } from './log-line.ts'
import type { LogQuery } from './log-query.ts'
import { findTrace, paddedTraceId } from './trace-mark.ts'

/** What all lines of one container share, rendered once. */
export function renderOwner(pod: LogPod, container: string, isGone: boolean): string {
  return (
    `,"namespace":${JSON.stringify(pod.namespace)},"pod":${JSON.stringify(pod.name)}` +
    `,"container":${JSON.stringify(container)},"node":${JSON.stringify(pod.node)},"uid":${JSON.stringify(pod.uid)}` +
    optional('serviceAccount', pod.serviceAccount) +
    optional('owner', pod.owner) +
    (isGone ? ',"gone":true' : '')
  )
}

/** One JSON object, without a line feed. @param owner of `renderOwner` */
export function renderLine(line: LogLine, owner: string): string {
  const { traceId, spanId, requestId } = findTrace(line.message)
  return (
    `{"kind":"line","time":${JSON.stringify(line.time)},"stream":"${line.stream}"${owner}` +
    optional('traceId', traceId) +
    optional('spanId', spanId) +
    optional('requestId', requestId) +
    `,"message":${JSON.stringify(line.message)}${line.cut ? ',"cut":true' : ''}}`
  )
}

function optional(name: string, text: string): string {
  return text === '' ? '' : `,"${name}":${JSON.stringify(text)}`
}

/** A request or connection of the access log; undefined for a line that is none. */
export interface AccessEntry {
  readonly kind: 'request' | 'connection'
  readonly source: string
  readonly destination: string
  readonly traceId: string
  readonly requestId: string
  /** One JSON object, without a line feed. */
  readonly json: string
}

export function parseAccessLine(message: string): AccessEntry | undefined {
  const kind = message.includes('"msg":"request"') ? 'request' : 'connection'
  if (!message.startsWith('{"level":') || !message.includes(`"msg":"${kind}"`)) return undefined
  try {
    const value: unknown = JSON.parse(message)
    if (typeof value !== 'object' || value === null) return undefined
    const text = (name: string) => {
      const member: unknown = Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined
      return typeof member === 'string' ? member : ''
    }
    const json = `{"kind":"${kind}",${message.slice(1)}`
    const [source, destination, traceId, requestId] = [
      text('source'),
      text('destination'),
      text('traceId'),
      text('requestId'),
    ]
    return { kind, source, destination, traceId, requestId, json }
  } catch {
    return undefined
  }
}

/**
 * Which requests belong to what was asked for.
 * @param isWanted whether a pod is, by `namespace/name`
 */
export function wantsAccess(query: LogQuery, entry: AccessEntry, isWanted: (pod: string) => boolean): boolean {
  const { trace } = query
  if (trace !== '' && entry.traceId !== paddedTraceId(trace) && entry.requestId !== trace) return false
  const anyPod = query.pod === '' && query.namespace === '' && query.selector.length === 0
  return anyPod || isWanted(entry.source) || isWanted(entry.destination)
}
