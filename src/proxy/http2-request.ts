/** The head of a request of HTTP/2 as the mesh reads it; what the engine passes on is well-formed (RFC 9113 section 8.3). */
import { isTraceparent } from '#http'
import {
  FIELD_B3,
  FIELD_CONTENT_TYPE,
  FIELD_DROP,
  FIELD_GRPC_TIMEOUT,
  FIELD_HOST,
  FIELD_REQUEST_ID,
  FIELD_TRACEPARENT,
  fieldClass,
  fieldValue,
} from './field-class.ts'
import { isGrpcContentType, parseGrpcTimeout } from './grpc.ts'

export class Http2Request {
  /** [name, value, …]; those from `firstField` on are no pseudo-headers. */
  readonly fields: readonly string[]
  readonly firstField: number
  /** A WebSocket's is that of its handshake in HTTP/1.1, so that the same routes and policies are for both. */
  method = ''
  scheme = ''
  /** Path and query. */
  target = ''
  path = ''
  query = ''
  authority = ''
  /** Of an extended CONNECT; empty: it is none. */
  protocol = ''
  /** Empty when there is none, or none that is well-formed. */
  traceparent = ''
  /** Any header of B3 is there. */
  hasB3 = false
  requestId = ''
  grpc = false
  /** Undefined when the client does not say how long it waits. */
  grpcTimeoutMs: number | undefined

  constructor(fields: readonly string[]) {
    this.fields = fields
    let at = 0
    for (; at < fields.length; at += 2) {
      const name = fields[at] as string
      if (name.charCodeAt(0) !== 58) break
      const value = fields[at + 1] as string
      switch (name) {
        case ':method':
          this.method = value
          break
        case ':scheme':
          this.scheme = value
          break
        case ':path':
          this.target = value
          break
        case ':authority':
          this.authority = value
          break
        default:
          this.protocol = value
      }
    }
    this.firstField = at
    this.#readFields(at)
    if (this.protocol !== '') this.method = 'GET'
    const question = this.target.indexOf('?')
    this.path = question < 0 ? this.target : this.target.slice(0, question)
    this.query = question < 0 ? '' : this.target.slice(question + 1)
  }

  #readFields(from: number): void {
    const { fields } = this
    let traces = 0
    let timeout: string | undefined
    for (let i = from; i < fields.length; i += 2) {
      const known = fieldClass(fields[i] as string)
      if (known === 0) continue
      const value = fields[i + 1] as string
      switch (known) {
        case FIELD_HOST:
          if (this.authority === '') this.authority = value
          break
        case FIELD_TRACEPARENT:
          // Repeated or malformed, the trace is begun anew (W3C Trace Context section 3.2).
          this.traceparent = traces++ === 0 && isTraceparent(value) ? value : ''
          break
        case FIELD_B3:
          this.hasB3 = true
          break
        case FIELD_REQUEST_ID:
          this.requestId = value
          break
        case FIELD_CONTENT_TYPE:
          if (this.method === 'POST' && isGrpcContentType(value)) this.grpc = true
          break
        case FIELD_GRPC_TIMEOUT:
          timeout = value
          break
        default:
      }
    }
    if (this.grpc && timeout !== undefined) this.grpcTimeoutMs = parseGrpcTimeout(timeout)
  }

  header(lowerCaseName: string): string | undefined {
    if (lowerCaseName === 'host') return this.authority
    return fieldClass(lowerCaseName) === FIELD_DROP ? undefined : fieldValue(this.fields, lowerCaseName)
  }
}
