/**
 * Heads as they leave the proxy. Hop-by-hop fields end here (RFC 9110 section 7.6.1), as does whatever
 * a client might say about identity; the rest is copied in runs, not line by line.
 */
import { type HeaderEdit, REFUSAL_HEADER, type Refusal } from '#contract'
import {
  HEADER_B3,
  HEADER_CONNECTION,
  HEADER_CONTENT_LENGTH,
  HEADER_HOST,
  HEADER_HTTP2_SETTINGS,
  HEADER_KEEP_ALIVE,
  HEADER_OTHER,
  HEADER_PROXY_CONNECTION,
  HEADER_TE,
  HEADER_TRACEPARENT,
  HEADER_TRANSFER_ENCODING,
  HEADER_UPGRADE,
  HEADER_VOID,
  HEADER_WEIR,
  HEADER_XFCC,
  type Head,
  isProtected,
} from '#http'

/** Hop-by-hop in either direction. Content-Length and Transfer-Encoding are kept or replaced by the caller. */
function isHopByHop(id: number): boolean {
  switch (id) {
    case HEADER_CONNECTION:
    case HEADER_KEEP_ALIVE:
    case HEADER_PROXY_CONNECTION:
    case HEADER_TE:
    case HEADER_UPGRADE:
    case HEADER_HTTP2_SETTINGS:
    case HEADER_TRANSFER_ENCODING:
    case HEADER_VOID:
      return true
    default:
      return false
  }
}

/**
 * Header lines of `head` that pass on, `\r\n` after each; none of what only the mesh may say. `dropLength` also drops
 * Content-Length; `host` replaces the Host line's value when not undefined.
 */
function copyHeaders(
  head: Head,
  dropLength: boolean,
  host: string | undefined,
  edits: readonly HeaderEdit[],
  dropTrace: boolean,
): string {
  if (edits.length > 0) return copyEdited(head, dropLength, host, edits, dropTrace)
  const { text, offsets, headerCount } = head
  let out = ''
  let runStart = -1
  let runEnd = 0
  for (let i = 0; i < headerCount; i++) {
    if (passes(head, i, dropLength, host, dropTrace)) {
      if (runStart < 0) runStart = offsets[i * 4] as number
      // The next line begins right behind this one's CRLF: a run is cut out as a whole.
      runEnd = i + 1 < headerCount ? (offsets[(i + 1) * 4] as number) : text.length - 2
    } else if (runStart >= 0) {
      out += text.slice(runStart, runEnd)
      runStart = -1
    }
  }
  if (runStart >= 0) out += text.slice(runStart, runEnd)
  return host === undefined ? out : `host: ${host}\r\n${out}`
}

/** Whether line `index` of an answer goes on. */
export function passesOn(head: Head, index: number, dropLength: boolean): boolean {
  return passes(head, index, dropLength, undefined, false)
}

function passes(head: Head, index: number, dropLength: boolean, host: string | undefined, dropTrace: boolean): boolean {
  const id = head.ids[index] as number
  if (id !== HEADER_OTHER) {
    if (isHopByHop(id)) return false
    if (id === HEADER_XFCC || id === HEADER_WEIR) return false
    if (dropLength && id === HEADER_CONTENT_LENGTH) return false
    if (id === HEADER_HOST && host !== undefined) return false
    if (dropTrace && (id === HEADER_TRACEPARENT || id === HEADER_B3)) return false
  }
  return true
}

/** What a route's filters may not touch: framing, hop-by-hop fields, identity. */
const UNEDITABLE = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'http2-settings',
  'content-length',
  'transfer-encoding',
  'upgrade',
  'te',
  'x-forwarded-client-cert',
])

function copyEdited(
  head: Head,
  dropLength: boolean,
  host: string | undefined,
  edits: readonly HeaderEdit[],
  dropTrace: boolean,
): string {
  const lines: Field[] = []
  if (host !== undefined) lines.push({ name: 'host', value: host })
  for (let i = 0; i < head.headerCount; i++) {
    if (!passes(head, i, dropLength, host, dropTrace)) continue
    const start = head.offsets[i * 4]
    lines.push({ name: head.text.slice(start, head.offsets[i * 4 + 1]), value: head.value(i) })
  }
  return editLines(lines, edits)
}

export interface Field {
  readonly name: string
  readonly value: string
}

/** @param fields names and values @returns lines, each with its CRLF */
export function linesOf(fields: readonly string[]): string {
  let out = ''
  for (let i = 0; i < fields.length; i += 2) out += `${fields[i]}: ${fields[i + 1]}\r\n`
  return out
}

/** As lines, each with its CRLF. */
export function editLines(lines: Field[], edits: readonly HeaderEdit[]): string {
  let out = ''
  for (const { name, value } of editFields(lines, edits)) out += `${name}: ${value}\r\n`
  return out
}

/** Gateway API HTTPHeaderFilter: `set` overwrites, `add` appends with a comma, `remove` takes away. */
export function editFields(lines: Field[], edits: readonly HeaderEdit[]): readonly Field[] {
  let left = lines
  const drop = (lower: string): void => {
    left = left.filter((line) => line.name.toLowerCase() !== lower)
  }
  for (const edit of edits) {
    for (const { name, value } of edit.set) {
      const lower = name.toLowerCase()
      if (UNEDITABLE.has(lower)) continue
      drop(lower)
      left.push({ name, value })
    }
    for (const { name, value } of edit.add) {
      const lower = name.toLowerCase()
      if (UNEDITABLE.has(lower)) continue
      const before = left.filter((line) => line.name.toLowerCase() === lower)
      // Set-Cookie cannot be joined (RFC 9110 section 5.3).
      if (before.length > 0 && lower !== 'set-cookie') {
        drop(lower)
        left.push({ name, value: [...before.map((line) => line.value), value].join(',') })
      } else left.push({ name, value })
    }
    for (const name of edit.remove) if (!UNEDITABLE.has(name.toLowerCase())) drop(name.toLowerCase())
  }
  return left
}

export interface RequestRendering {
  /** Path and query (or absolute form) as it goes upstream. */
  readonly target: string
  /** Replaces the Host header; undefined leaves it. */
  readonly host: string | undefined
  /** Header lines to add, each with its CRLF. */
  readonly extra: string
  /** In this order. */
  readonly edits: readonly HeaderEdit[]
  readonly upgrade: boolean
  /** The client's own traceparent and headers of B3 are left out. */
  readonly dropTrace: boolean
  /** Of a body that is not the client's own, bytes. */
  readonly length?: number
}

/** An absolute form without a path, which not every server takes, gets the one it means (RFC 3986 section 6.2.3). */
function withPath(target: string): string {
  return target.replace(/^(https?:\/\/[^/?]*)(?=\?|$)/i, '$1/')
}

export function renderRequest(head: Head, rendering: RequestRendering): string {
  const { target } = rendering
  let out = `${head.method} ${target.charCodeAt(0) === 47 ? target : withPath(target)} HTTP/1.1\r\n`
  const { host, edits, dropTrace } = rendering
  out += copyHeaders(head, head.chunked || rendering.length !== undefined, host, edits, dropTrace)
  if (rendering.length !== undefined) out += `content-length: ${rendering.length}\r\n`
  else if (head.chunked) out += 'transfer-encoding: chunked\r\n'
  if (head.teTrailers) out += 'te: trailers\r\n'
  if (rendering.upgrade && head.upgradeIndex >= 0) {
    out += `connection: upgrade\r\nupgrade: ${head.value(head.upgradeIndex)}\r\n`
  } else if (head.teTrailers) out += 'connection: te\r\n'
  return `${out}${rendering.extra}\r\n`
}

/** The head as the client meant it, start line first, without framing and what belongs to its connection. `host`: as for a request. */
export function renderCopy(head: Head, host: string | undefined): string {
  const lines = copyHeaders(head, true, host, [], false)
  const expecting = head.expectContinue ? lines.replace(/^expect:[^\r]*\r\n/im, '') : lines
  return `${head.method} ${head.target} HTTP/1.1\r\n${expecting}${head.teTrailers ? 'te: trailers\r\n' : ''}`
}

export interface ResponseRendering {
  /** Framing of the body on the client's side. */
  readonly framing: 'none' | 'length' | 'chunked' | 'close'
  /** Say `connection: close`. */
  readonly close: boolean
  /** The client speaks HTTP/1.0 and asked to keep the connection. */
  readonly keepAlive10: boolean
  /** In this order. */
  readonly edits: readonly HeaderEdit[]
  /** 101: pass Upgrade on. */
  readonly upgrade: boolean
  /** Of a body that is not the upstream's own, bytes; 'unknown' when there is none that would tell. */
  readonly length?: number | 'unknown' | undefined
  /** Told of the client's session. */
  readonly session?: readonly [name: string, value: string] | undefined
}

export function renderResponse(head: Head, rendering: ResponseRendering): string {
  const reframed = rendering.framing === 'chunked' || rendering.framing === 'close'
  let out = `HTTP/1.1 ${head.status}${head.reason === '' ? ' ' : head.reason}\r\n`
  // Without a body by definition, a length says nothing (RFC 9110 section 8.6) and could mislead.
  const lengthless = head.status < 200 || head.status === 204
  const { length } = rendering
  const dropLength = (reframed || lengthless || length !== undefined) && head.contentLength >= 0
  out += copyHeaders(head, dropLength, undefined, rendering.edits, false)
  if (typeof length === 'number') out += `content-length: ${length}\r\n`
  if (rendering.session !== undefined) out += `${rendering.session[0]}: ${rendering.session[1]}\r\n`
  if (rendering.framing === 'chunked') out += 'transfer-encoding: chunked\r\n'
  if (rendering.upgrade && head.upgradeIndex >= 0) {
    out += `connection: upgrade\r\nupgrade: ${head.value(head.upgradeIndex)}\r\n`
  } else if (rendering.close) out += 'connection: close\r\n'
  else if (rendering.keepAlive10) out += 'connection: keep-alive\r\n'
  return `${out}\r\n`
}

/** A field that may come in a trailer section: none of framing, routing, identity (RFC 9110 section 6.5.1). */
export function mayTrail(name: string): boolean {
  return !(isProtected(name) || name === 'set-cookie' || name.startsWith('content-'))
}

export function renderTrailers(head: Head): string {
  let out = ''
  for (let i = 0; i < head.headerCount; i++) {
    if (head.ids[i] !== HEADER_OTHER) continue
    const name = head.name(i)
    if (!mayTrail(name)) continue
    out += `${name}: ${head.value(i)}\r\n`
  }
  return out
}

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  408: 'Request Timeout',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}

/** An answer of the mesh's own. `extra`: further header lines, each with its CRLF. */
export function renderOwn(status: number, body: string, close: boolean, headOnly: boolean, extra: string): string {
  return (
    `HTTP/1.1 ${status} ${REASONS[status] ?? ''}\r\ncontent-type: text/plain; charset=utf-8\r\n` +
    `content-length: ${body.length}\r\n${extra}${close ? 'connection: close\r\n' : ''}\r\n${headOnly ? '' : body}`
  )
}

/** As `renderOwn`, of the body's length, for HTTP/2. `extra`: names and values. */
export function ownFields(status: number, bodyLength: number, extra: readonly string[]): string[] {
  const length = String(bodyLength)
  return [':status', String(status), 'content-type', 'text/plain; charset=utf-8', 'content-length', length, ...extra]
}

/** `extra`: header lines, each with its CRLF. */
export function redirectFields(status: number, location: string, extra: string): string[] {
  const fields = ownFields(status, 0, location === '' ? [] : ['location', location])
  for (const line of extra.split('\r\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) fields.push(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
  }
  return fields
}

/** `told`: the caller is another node of the mesh, which wants to know the flag. */
export function renderRefusal(refusal: Refusal, close: boolean, headOnly: boolean, told: boolean): string {
  const retryAfter = refusal.retryAfterSeconds === undefined ? '' : `retry-after: ${refusal.retryAfterSeconds}\r\n`
  const extra = (told ? `${REFUSAL_HEADER}: ${refusal.flag}\r\n` : '') + retryAfter
  return renderOwn(refusal.status, refusal.body, close, headOnly, extra)
}
