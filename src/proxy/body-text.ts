/** Bodies of HTTP/1.1 as text: how much is written as such, and the end of one in chunks. */
import type { BodyReader } from '#http'
import { renderTrailers } from './render.ts'

/** Bodies up to this are sent as text together with their head: one write. */
export const COMBINE_BYTES = 8192

/** The end of a chunked body, with its trailers. */
export function lastChunk({ trailers }: BodyReader): string {
  return `0\r\n${trailers === undefined ? '' : renderTrailers(trailers)}\r\n`
}
