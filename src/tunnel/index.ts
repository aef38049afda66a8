export { Credentials } from './credentials.ts'
export { InboundTunnel, type InboundTunnelOptions } from './inbound-tunnel.ts'
export type { Opened } from './tunnel.ts'
export { type TunnelDestination, TunnelPool } from './tunnel-pool.ts'
