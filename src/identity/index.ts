export { normalizeSerial } from './serial.ts'
export type { SpiffeParts } from './spiffe.ts'
export { parseSpiffeId, peerIdentity, spiffeId } from './spiffe.ts'
