/**
 * ServiceEntries → Services named by their hosts (which no Kubernetes Service can be, for their dots): what routing,
 * balancing and policies of traffic do for Services, they do for these.
 */
import { createHash } from 'node:crypto'
import type { AppProtocol, Endpoint, MeshService } from '#contract'
import { canonicalAddress, canonicalCidr, type ServiceEntryObject } from '#resources'
import { compareAge } from '../age.ts'
import type { ProblemLog } from './problem-log.ts'

const PROTOCOLS: Readonly<Record<ServiceEntryObject['spec']['ports'][number]['protocol'], AppProtocol>> = {
  HTTP: 'http',
  HTTP2: 'http2',
  GRPC: 'grpc',
  HTTPS: 'tls',
  TLS: 'tls',
  TCP: 'tcp',
}

/** The automatic addresses of hosts, of version 4. */
export class AutomaticAddresses {
  /** By host, as `namespace/host`. */
  readonly #held = new Map<string, string>()
  /** Those that more than one host would have. */
  readonly #contested = new Set<string>()
  #collisions = 0

  /** How often a host did not get what it would have had: which of them does depends on their order. */
  get collisions(): number {
    return this.#collisions
  }

  /** As Istio's: 240.240.0.0/16 and 2001:2::/48, which nobody else has. The same for a host on all nodes, unless two meet. */
  take(key: string): string[] {
    for (let salt = 0; ; salt++) {
      const bytes = createHash('sha256').update(`${key} ${salt}`).digest()
      const [a = 0, b = 0, c = 0, d = 0] = bytes
      const v4 = `240.240.${a}.${b}`
      if (b === 0 || b === 255) continue
      if (this.#held.has(v4)) {
        this.#contested.add(v4)
        this.#collisions++
        continue
      }
      this.#held.set(v4, key)
      const v6 = canonicalAddress(`2001:2::${hex(a, b)}:${hex(c, d)}`)
      return v6 === undefined ? [v4] : [v4, v6]
    }
  }

  /** False when another host would have had it, and it is to be dealt anew. */
  giveBack(addresses: readonly string[], key: string): boolean {
    for (const address of addresses) {
      if (this.#held.get(address) !== key) continue
      if (this.#contested.has(address)) return false
      this.#held.delete(address)
    }
    return true
  }
}

/** Addresses of Services, which stay theirs. */
interface Taken {
  has(address: string): boolean
}

/** @param automatic those that hosts have; what is given to these is added */
export function compileServiceEntries(
  entries: readonly ServiceEntryObject[],
  taken: Taken,
  automatic: AutomaticAddresses,
  problems: ProblemLog,
): MeshService[] {
  const found = new Map<string, MeshService>()
  for (const entry of entries.toSorted((a, b) => compareAge(ageOf(a), ageOf(b)))) {
    for (const [index, text] of entry.spec.hosts.entries()) {
      const host = text.toLowerCase()
      const key = `${entry.metadata.namespace}/${host}`
      if (found.has(key)) {
        const message = `${host} is declared by another ServiceEntry of the namespace, which stays in force: merge them`
        problems.add(entry, `spec.hosts[${index}]`, message)
      } else found.set(key, compileHost(entry, host, taken, problems))
    }
  }
  const services = [...found.values()]
  return services.map((service) => {
    const external = service.external
    if (service.addresses.length > 0 || external === undefined || !needsAddress(service)) return service
    return { ...service, addresses: automatic.take(`${service.namespace}/${service.name}`) }
  })
}

/** Names of the Services that it makes, as `namespace/host`. */
export function entryNames({ metadata: { namespace }, spec: { hosts } }: ServiceEntryObject): readonly string[] {
  return [...new Set(hosts.map((host) => `${namespace}/${host.toLowerCase()}`))]
}

/** Canonical addresses that it says hosts or endpoints of it have. */
export function entryAddresses({ spec }: ServiceEntryObject): readonly string[] {
  const texts = [...spec.addresses, ...spec.endpoints.map(({ address }) => address)]
  return texts.flatMap((text) => canonicalAddress(text) ?? [])
}

function ageOf({ metadata }: ServiceEntryObject) {
  return { createdAt: metadata.creationTimestamp ?? '', namespace: metadata.namespace, name: metadata.name }
}

function compileHost(
  { spec, metadata, ...entry }: ServiceEntryObject,
  host: string,
  taken: Taken,
  problems: ProblemLog,
): MeshService {
  const addresses: string[] = []
  const cidrs: string[] = []
  for (const [index, text] of spec.addresses.entries()) {
    const address = canonicalAddress(text)
    if (address === undefined) cidrs.push(canonicalCidr(text) ?? text)
    else if (!taken.has(address)) addresses.push(address)
    else
      problems.add(
        { ...entry, metadata, spec },
        `spec.addresses[${index}]`,
        `${address} is the address of a Service, which keeps it`,
      )
  }
  const isDns = spec.resolution.startsWith('DNS')
  const declared = spec.endpoints.filter(({ address }, index) => {
    if (!taken.has(canonicalAddress(address) ?? '')) return true
    const message = `${address} is the address of a Service: call that by its own name, here it is left out`
    problems.add({ ...entry, metadata, spec }, `spec.endpoints[${index}].address`, message)
    return false
  })
  const targets = isDns && spec.endpoints.length === 0 ? [{ address: host, ports: {} }] : declared
  const endpoints = Object.fromEntries(
    spec.ports.map((port) => [
      String(port.number),
      targets.map((target): Endpoint => {
        const ports: Readonly<Record<string, number>> = target.ports
        const address = canonicalAddress(target.address)
        return {
          address: address ?? target.address.toLowerCase(),
          port: ports[port.name] ?? port.targetPort ?? port.number,
          ready: true,
          terminating: false,
          ...(address === undefined ? { resolve: true as const } : {}),
        }
      }),
    ]),
  )
  const everywhere = spec.exportTo.includes('*')
  const namespaces = spec.exportTo.map((name) => (name === '.' ? metadata.namespace : name))
  return {
    kind: 'service',
    namespace: metadata.namespace,
    name: host,
    // Of resolution NONE the addresses are those of the hosts themselves: nothing stands behind them.
    addresses: spec.resolution === 'NONE' ? [] : addresses,
    ports: spec.ports.map(({ number, name, protocol }) => ({ name, port: number, protocol: PROTOCOLS[protocol] })),
    endpoints,
    sliced: false,
    external: {
      entry: metadata.name,
      resolution: isDns ? 'DNS' : spec.resolution === 'STATIC' ? 'STATIC' : 'NONE',
      cidrs: [...cidrs, ...addresses.map((address) => canonicalCidr(address) ?? address)],
      ...(everywhere ? {} : { namespaces }),
    },
  }
}

/** Its endpoints can only be meant by an address of the host's own. */
function needsAddress({ name, external }: MeshService): boolean {
  return (
    external !== undefined && external.resolution !== 'NONE' && !name.startsWith('*') && external.cidrs.length === 0
  )
}

function hex(high: number, low: number): string {
  return ((high << 8) | low).toString(16)
}
