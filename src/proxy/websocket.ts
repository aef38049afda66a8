/** The handshake of a WebSocket (RFC 6455 section 4), where the mesh makes one end of it. */
import { createHash, randomBytes } from 'node:crypto'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

export function newWebSocketKey(): string {
  return randomBytes(16).toString('base64')
}

/** What `sec-websocket-accept` must be for a key. */
export function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64')
}
