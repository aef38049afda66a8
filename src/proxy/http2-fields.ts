/**
 * Header lists of HTTP/2 as they leave the proxy: whatever a client might say in the mesh's name is left out, a route's
 * edits are made, the rest passes as it came. A list that needs no change is passed on itself.
 */
import type { HeaderEdit } from '#contract'
import {
  FIELD_B3,
  FIELD_CONTENT_LENGTH,
  FIELD_COOKIE,
  FIELD_DROP,
  FIELD_GRPC_TIMEOUT,
  FIELD_HOST,
  FIELD_OTHER,
  FIELD_TRACEPARENT,
  FIELD_TRACESTATE,
  fieldClass,
  fieldValue,
} from './field-class.ts'
import { editFields, type Field } from './render.ts'

/** It is malformed, or another is among what is added. */
export const DROP_TRACEPARENT = 1
/** Without a traceparent it is of no trace (W3C Trace Context section 4.2). */
export const DROP_TRACESTATE = 2
/** Another is among what is added. */
export const DROP_B3 = 4
/** A shorter `grpc-timeout` is among what is added. */
export const DROP_TIMEOUT = 8
const DROP_ALWAYS = 16

/** By class of a field: which of these bits leave it out. */
const DROPPED_BY = new Uint8Array(32)
DROPPED_BY[FIELD_DROP] = DROP_ALWAYS
DROPPED_BY[FIELD_HOST] = DROP_ALWAYS
DROPPED_BY[FIELD_TRACEPARENT] = DROP_TRACEPARENT
DROPPED_BY[FIELD_TRACESTATE] = DROP_TRACESTATE
DROPPED_BY[FIELD_B3] = DROP_B3
DROPPED_BY[FIELD_GRPC_TIMEOUT] = DROP_TIMEOUT

export interface RequestLine {
  readonly method: string
  readonly scheme: string
  readonly authority: string
  /** Path and query. */
  readonly path: string
  /** Of an extended CONNECT (RFC 8441); empty: it is none. */
  readonly protocol: string
}

/**
 * @param fields as received, from `from` on without pseudo-headers
 * @param added names and values of the mesh's own
 * @param drops what of the client's own is left out: bits of DROP_*
 */
export function requestFields(
  line: RequestLine,
  fields: readonly string[],
  from: number,
  edits: readonly HeaderEdit[],
  added: readonly string[],
  drops: number,
): string[] {
  const out =
    line.protocol === ''
      ? [':method', line.method, ':scheme', line.scheme, ':authority', line.authority, ':path', line.path]
      : [
          ':method',
          'CONNECT',
          ':protocol',
          line.protocol,
          ':scheme',
          line.scheme,
          ':authority',
          line.authority,
          ':path',
          line.path,
        ]
  const start = out.length
  const bits = drops | DROP_ALWAYS
  for (let i = from; i < fields.length; i += 2) {
    const name = fields[i] as string
    const known = fieldClass(name)
    if (known !== FIELD_OTHER && ((DROPPED_BY[known] as number) & bits) !== 0) continue
    out.push(name, fields[i + 1] as string)
  }
  if (edits.length > 0) editRequest(out, start, edits)
  for (let i = 0; i < added.length; i++) out.push(added[i] as string)
  return out
}

/** Edits may name the host, which is a pseudo-header here. */
function editRequest(list: string[], start: number, edits: readonly HeaderEdit[]): void {
  const at = list.indexOf(':authority') + 1
  const before: Field[] = [{ name: 'host', value: list[at] as string }]
  for (let i = start; i < list.length; i += 2) {
    before.push({ name: list[i] as string, value: list[i + 1] as string })
  }
  list.length = start
  for (const { name, value } of editFields(before, edits)) {
    const lower = name.toLowerCase()
    if (lower === 'host') list[at] = value
    else list.push(lower, value)
  }
}

/** The head as the client meant it, for a copy by HTTP/1.1: start line first, without framing, each line with its CRLF. */
export function copyLines(
  method: string,
  target: string,
  host: string,
  fields: readonly string[],
  from: number,
): string {
  let out = `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\n`
  for (let i = from; i < fields.length; i += 2) {
    const name = fields[i] as string
    const known = fieldClass(name)
    // `te: trailers` stays: a server of gRPC may ask for it.
    const framing = known === FIELD_CONTENT_LENGTH || name === 'expect'
    if (framing || known === FIELD_DROP || known === FIELD_HOST || known === FIELD_COOKIE) continue
    out += `${name}: ${fields[i + 1]}\r\n`
  }
  const cookie = fieldValue(fields, 'cookie')
  return cookie === undefined ? out : `${out}cookie: ${cookie}\r\n`
}

/** Of an answer; `fields` begins with `:status`. */
export function answerFields(fields: readonly string[], edits: readonly HeaderEdit[]): readonly string[] {
  const clean = withoutMeshFields(fields)
  if (edits.length === 0) return clean
  const before: Field[] = []
  for (let i = 2; i < clean.length; i += 2) before.push({ name: clean[i] as string, value: clean[i + 1] as string })
  const out = [':status', clean[1] as string]
  for (const { name, value } of editFields(before, edits)) out.push(name.toLowerCase(), value)
  return out
}

/** All but one field, wherever it is. */
export function withoutField(fields: readonly string[], name: string): readonly string[] {
  return fields.filter((_, at) => fields[at & ~1] !== name)
}

/** Trailers, or an answer's head: nothing that only the mesh may say. */
export function withoutMeshFields(fields: readonly string[]): readonly string[] {
  for (let i = 0; i < fields.length; i += 2) {
    if (fieldClass(fields[i] as string) === FIELD_DROP) {
      return fields.filter((_, at) => fieldClass(fields[at & ~1] as string) !== FIELD_DROP)
    }
  }
  return fields
}
