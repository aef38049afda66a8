export type { SpiffeParts } from './spiffe.ts'
export { parseSpiffeId, peerIdentity, spiffeId } from './spiffe.ts'
