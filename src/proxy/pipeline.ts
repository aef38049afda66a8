/**
 * Where a connection's traffic goes, and whether it may: one pipeline for each direction (`outbound-pipeline.ts`,
 * `inbound-pipeline.ts`) and one for copies (`mirror-pipeline.ts`). All of them end in `judgement.ts`, so nothing is
 * forwarded that was not judged.
 */
import type { ResponseFlag, ServerName, Verdict } from '#contract'
import { MESH_PORTS } from '#contract'
import type { Snapshot } from '#mesh'
import type { ExchangeTarget } from './exchange-target.ts'
import type { HttpPipeline, RouteName } from './http-exchange.ts'
import type { SocketName } from './socket-name.ts'

export type TcpChoice =
  | ExchangeTarget
  | {
      readonly kind: 'refuse'
      readonly flag: ResponseFlag
      readonly target: ExchangeTarget | undefined
      readonly why: string
    }

/** A pipeline serves one connection: its destination is fixed, the world is not. */
export interface Pipeline extends HttpPipeline {
  /** For bytes that are not HTTP. Sets `verdict`. */
  chooseTcp(): TcpChoice
  /** As `denialNow`, for a relayed connection. */
  tcpDenialNow(target: ExchangeTarget): Verdict | undefined
  verdict: Verdict | undefined
  readonly original: SocketName
  /** What the ClientHello said; set by whoever read it. */
  sni: ServerName
  /** Of `chooseTcp`: the TLSRoute or TCPRoute that decided. */
  readonly route: RouteName | undefined
  /** Where it goes may depend on the server name. */
  asksSni(): boolean
  /** What is declared of the destination port; `tls`: opaque, and its ClientHello is to be read. */
  declared(): 'http' | 'opaque' | 'tls' | 'detect'
}

/**
 * Is this where the mesh itself listens in a pod? Never proxied: it would come back to us. The same ports of whatever
 * is not in the mesh are like any other.
 */
export function isMeshSocket(snapshot: Snapshot, { address, port }: SocketName): boolean {
  if (!MESH_PORTS.has(port)) return false
  return address === '::1' || address.startsWith('127.') || snapshot.workloadByAddress(address)?.optedIn === true
}
