/**
 * What a connection out of the cluster is to: a host that a ServiceEntry declares, or nothing that is declared. Pure.
 * Bias: a name that is asked for decides where it goes; with REGISTRY_ONLY nothing passes for its address alone unless
 * that address is declared for bytes of any kind.
 */
import type { MeshService, ServicePort } from '#contract'
import type { Snapshot } from '#mesh'
import { type AddressBlock, isAddress, isInBlock, parseBlock } from './address-block.ts'
import { compareHosts, matchesHost } from './stream-route.ts'

export interface EgressRequest {
  /** Of the calling pod; undefined when it is not known. */
  readonly namespace: string | undefined
  readonly registryOnly: boolean
  readonly speaks: 'http' | 'tls' | 'other'
  /** Host or server name, as asked; empty for none. */
  readonly name: string
  /** Where the connection was opened to. */
  readonly address: string
  readonly port: number
}

export type EgressDecision =
  /** Declared, with endpoints. */
  | { readonly kind: 'declared'; readonly service: MeshService; readonly port: ServicePort }
  /** Declared without endpoints: to the host itself, as the name server says. */
  | { readonly kind: 'host'; readonly service: MeshService; readonly host: string }
  /** As addressed. */
  | { readonly kind: 'as-addressed'; readonly service: MeshService | undefined }
  /** `what`: for the client and the log, e.g. `host a.example`. */
  | { readonly kind: 'undeclared'; readonly what: string }

interface Declared {
  readonly from: ReadonlyMap<string, MeshService>
  /** Wildcards, the most specific first. */
  readonly hosts: readonly MeshService[]
  readonly blocks: readonly { readonly service: MeshService; readonly list: readonly AddressBlock[] }[]
}

const SLOT = Symbol('egress')

/** True when a name may change where a connection to an unknown address goes. */
export function declaresHosts(snapshot: Snapshot): boolean {
  return snapshot.externals().size > 0
}

export function decideEgress(snapshot: Snapshot, request: EgressRequest): EgressDecision {
  const { registryOnly, speaks, address, port } = request
  if (!registryOnly && !declaresHosts(snapshot)) return { kind: 'as-addressed', service: undefined }
  const declared = snapshot.derived<Declared>(SLOT, '', (previous) => {
    return previous?.from === snapshot.externals() ? previous : compile(snapshot.externals())
  })
  const name = bareName(request.name)
  const isName = name !== '' && !isAddress(name)
  if (isName) {
    const found = byName(snapshot.externalsOf(name), declared.hosts, name, request)
    if (found !== undefined) return toHost(found.service, found.port, name, request)
  }
  const found = byAddress(declared, request, isName || (name !== '' && name !== address))
  if (found !== undefined) return { kind: 'as-addressed', service: found }
  if (!registryOnly) return { kind: 'as-addressed', service: undefined }
  const socket = `${address.includes(':') ? `[${address}]` : address}:${port}`
  const what = name === '' ? `address ${socket}` : `host ${name}`
  return { kind: 'undeclared', what: speaks === 'other' ? `address ${socket}` : what }
}

function toHost(service: MeshService, port: ServicePort, name: string, request: EgressRequest): EgressDecision {
  if (service.external?.resolution !== 'NONE') return { kind: 'declared', service, port }
  // Unwatched, an application's own resolver is believed.
  return request.registryOnly ? { kind: 'host', service, host: name } : { kind: 'as-addressed', service }
}

/** Lower case, without port, brackets and the dot at the end. */
export function bareName(text: string): string {
  const lower = text.toLowerCase()
  const bracketed = /^\[([^\]]*)\](?::\d*)?$/.exec(lower)
  if (bracketed !== null) return bracketed[1] ?? ''
  // Several colons: an address without brackets.
  const bare = lower.indexOf(':') === lower.lastIndexOf(':') ? lower.replace(/:\d*$/, '') : lower
  return bare.replace(/\.$/, '')
}

function byName(
  exact: readonly MeshService[],
  wildcards: readonly MeshService[],
  name: string,
  request: EgressRequest,
): { readonly service: MeshService; readonly port: ServicePort } | undefined {
  const fit = (service: MeshService): ServicePort | undefined =>
    isVisible(service, request.namespace)
      ? service.ports.find((one) => one.port === request.port && carries(one, request.speaks))
      : undefined
  const found = (services: readonly MeshService[]) => {
    // What the pod's own namespace declares comes first.
    const own = services.filter(({ namespace }) => namespace === request.namespace)
    for (const service of [...own, ...services]) {
      const port = fit(service)
      if (port !== undefined) return { service, port }
    }
    return undefined
  }
  return found(exact) ?? found(wildcards.filter((service) => matchesHost(service.name, name)))
}

/** May a port of that protocol be asked for by name by what is spoken? */
function carries({ protocol }: ServicePort, speaks: EgressRequest['speaks']): boolean {
  if (speaks === 'tls') return protocol === 'tls' || protocol === 'tcp'
  return speaks === 'http' && protocol !== 'tls'
}

/** @param isNamed a name was asked for that is not declared: only ports for bytes of any kind may still pass */
function byAddress({ blocks }: Declared, request: EgressRequest, isNamed: boolean): MeshService | undefined {
  const { namespace, address, port, speaks } = request
  const found = blocks.find(({ service, list }) => {
    const declared = service.ports.find((one) => one.port === port)
    if (declared === undefined || !isVisible(service, namespace) || !list.some((block) => isInBlock(address, block))) {
      return false
    }
    if (declared.protocol === 'tcp') return true
    return !isNamed && speaks !== 'other' && carries(declared, speaks)
  })
  return found?.service
}

function isVisible({ external }: MeshService, namespace: string | undefined): boolean {
  return external?.namespaces === undefined || (namespace !== undefined && external.namespaces.includes(namespace))
}

function compile(from: ReadonlyMap<string, MeshService>): Declared {
  const services = [...from.values()]
  return {
    from,
    hosts: services.filter(({ name }) => name.startsWith('*')).sort((a, b) => compareHosts(a.name, b.name)),
    blocks: services.flatMap((service) => {
      const cidrs = service.external?.cidrs ?? []
      return cidrs.length === 0 ? [] : [{ service, list: cidrs.map(parseBlock) }]
    }),
  }
}
