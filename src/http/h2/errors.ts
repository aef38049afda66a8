/** Error codes of HTTP/2 (RFC 9113 section 7) and what they become for the owner of a stream. */

export const H2_NO_ERROR = 0x0
export const H2_PROTOCOL_ERROR = 0x1
export const H2_INTERNAL_ERROR = 0x2
export const H2_FLOW_CONTROL_ERROR = 0x3
export const H2_SETTINGS_TIMEOUT = 0x4
export const H2_STREAM_CLOSED = 0x5
export const H2_FRAME_SIZE_ERROR = 0x6
export const H2_REFUSED_STREAM = 0x7
export const H2_CANCEL = 0x8
export const H2_COMPRESSION_ERROR = 0x9
export const H2_CONNECT_ERROR = 0xa
export const H2_ENHANCE_YOUR_CALM = 0xb

const NAMES = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
]

/** Name of a code, for logs; unknown codes in hexadecimal. */
export function h2ErrorName(code: number): string {
  return NAMES[code] ?? `0x${code.toString(16)}`
}

/** Statuses given to `onClose`: negative errors as libuv numbers them on Linux. */
export const STATUS_PROTOCOL = -71
export const STATUS_RESET = -104
export const STATUS_TIMED_OUT = -110
export const STATUS_REFUSED = -111

/** What a stream closed with `code` by the peer is for its owner. */
export function statusOfCode(code: number): number {
  switch (code) {
    case H2_REFUSED_STREAM:
      return STATUS_REFUSED
    case H2_CANCEL:
    case H2_NO_ERROR:
    case H2_CONNECT_ERROR:
      return STATUS_RESET
    default:
      return STATUS_PROTOCOL
  }
}
