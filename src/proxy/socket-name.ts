/** An address and a port, as the data path names a place to connect to. */

export interface SocketName {
  readonly address: string
  readonly port: number
}

/** `ip:port` or `[ip]:port`; empty for a place that is nowhere. */
export function socketText({ address, port }: SocketName): string {
  if (address === '') return ''
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
