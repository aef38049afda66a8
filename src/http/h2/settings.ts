/** SETTINGS (RFC 9113 section 6.5, RFC 8441): ours as bytes, the peer's checked. */
import { H2_FLOW_CONTROL_ERROR, H2_PROTOCOL_ERROR } from './errors.ts'
import { DEFAULT_FRAME_BYTES, DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES, readUint32 } from './frames.ts'
import { DEFAULT_TABLE_BYTES } from './hpack-tables.ts'
import type { Http2Limits } from './limits.ts'

export const SETTING_HEADER_TABLE_SIZE = 0x1
export const SETTING_ENABLE_PUSH = 0x2
export const SETTING_MAX_CONCURRENT_STREAMS = 0x3
export const SETTING_INITIAL_WINDOW_SIZE = 0x4
export const SETTING_MAX_FRAME_SIZE = 0x5
export const SETTING_MAX_HEADER_LIST_SIZE = 0x6
export const SETTING_ENABLE_CONNECT_PROTOCOL = 0x8

export type Http2Role = 'client' | 'server'

/** Identifiers and values in turn. */
export function ownSettings(role: Http2Role, limits: Http2Limits): number[] {
  const settings = [SETTING_INITIAL_WINDOW_SIZE, limits.streamWindowBytes]
  if (limits.maxFrameBytes !== DEFAULT_FRAME_BYTES) settings.push(SETTING_MAX_FRAME_SIZE, limits.maxFrameBytes)
  settings.push(SETTING_MAX_HEADER_LIST_SIZE, limits.maxHeaderListBytes)
  if (role === 'client') settings.push(SETTING_ENABLE_PUSH, 0)
  else {
    settings.push(SETTING_MAX_CONCURRENT_STREAMS, limits.maxConcurrentStreams, SETTING_ENABLE_CONNECT_PROTOCOL, 1)
  }
  return settings
}

/** The peer's settings; before its first SETTINGS frame, what the protocol presumes. */
export class PeerSettings {
  headerTableBytes = DEFAULT_TABLE_BYTES
  /** Until the peer says more, as many as most servers allow. */
  maxConcurrentStreams = 100
  initialWindowBytes = DEFAULT_WINDOW_BYTES
  maxFrameBytes = DEFAULT_FRAME_BYTES
  connectProtocol = false
  #received = false

  /** Why a value was refused, with its code; meaningful after `apply` said false. */
  problem = ''
  code = H2_PROTOCOL_ERROR

  /** Takes over a payload whose length is a multiple of six; `role` is ours. */
  apply(bytes: Uint8Array, start: number, end: number, role: Http2Role): boolean {
    if (!this.#received) {
      this.#received = true
      this.maxConcurrentStreams = 2 ** 32 - 1
    }
    for (let at = start; at < end; at += 6) {
      const id = ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
      const value = readUint32(bytes, at + 2)
      switch (id) {
        case SETTING_HEADER_TABLE_SIZE:
          this.headerTableBytes = value
          break
        case SETTING_ENABLE_PUSH:
          if (value > 1 || (value === 1 && role === 'client')) return this.#bad('ENABLE_PUSH', H2_PROTOCOL_ERROR)
          break
        case SETTING_MAX_CONCURRENT_STREAMS:
          this.maxConcurrentStreams = value
          break
        case SETTING_INITIAL_WINDOW_SIZE:
          if (value > MAX_WINDOW_BYTES) return this.#bad('INITIAL_WINDOW_SIZE', H2_FLOW_CONTROL_ERROR)
          this.initialWindowBytes = value
          break
        case SETTING_MAX_FRAME_SIZE:
          if (value < 16384 || value > 16777215) return this.#bad('MAX_FRAME_SIZE', H2_PROTOCOL_ERROR)
          this.maxFrameBytes = value
          break
        case SETTING_ENABLE_CONNECT_PROTOCOL:
          if (value > 1 || (value === 0 && this.connectProtocol)) {
            return this.#bad('ENABLE_CONNECT_PROTOCOL', H2_PROTOCOL_ERROR)
          }
          this.connectProtocol = value === 1
          break
        default:
          break
      }
    }
    return true
  }

  #bad(name: string, code: number): false {
    this.problem = `${name} out of range`
    this.code = code
    return false
  }
}
