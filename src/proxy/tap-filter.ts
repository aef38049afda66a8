/** Which requests and connections a tap tells of. What does not fit never leaves the proxy. */
import type { TapFilter } from '#contract'
import { compileRegex } from '#routing'
import type { AccessEdgeDescription, AccessRecord } from '#telemetry'
import type { HttpExchange } from './http-exchange.ts'
import { shownPath } from './tap-text.ts'

/** Name of the workload (Deployment and the like) that a pod, `namespace/name`, belongs to. */
export type OwnerOf = (pod: string) => string | undefined

interface Side {
  /** `namespace/name`; empty: not known. */
  readonly pod: string
  readonly identity: string
  /** `ip` or `ip:port`. */
  readonly address: string
  /** Of the destination: a host name. */
  readonly service: string
}

export class TapMatcher {
  readonly #filter: TapFilter
  readonly #ownerOf: OwnerOf
  readonly #path: { matches(text: string): boolean } | undefined
  readonly #ofRequests: boolean

  /** The agent has found the expression to be right; one that is not fits nothing. */
  constructor(filter: TapFilter, ownerOf: OwnerOf) {
    this.#filter = filter
    this.#ownerOf = ownerOf
    const { methods, pathPrefix, pathRegex, statuses, headers } = filter
    const compiled = pathRegex === '' ? undefined : compileRegex(`.*(?:${pathRegex}).*`)
    this.#path = compiled?.ok === true ? compiled.regex : undefined
    this.#ofRequests =
      methods.length > 0 || pathPrefix !== '' || pathRegex !== '' || statuses.length > 0 || headers.length > 0
  }

  request(edge: AccessEdgeDescription, record: AccessRecord, exchange: HttpExchange): boolean {
    const { methods, pathPrefix, pathRegex, statuses, headers } = this.#filter
    if (methods.length > 0 && !methods.includes(exchange.method)) return false
    if (statuses.length > 0 && !statuses.some(([least, most]) => record.status >= least && record.status <= most)) {
      return false
    }
    if (!this.#fitsBoth(edge, record)) return false
    // Of what is not shown nothing is to be found out by asking for it.
    const path = shownPath(exchange.path, '', false)
    if (!path.startsWith(pathPrefix)) return false
    if (pathRegex !== '' && this.#path?.matches(path) !== true) return false
    return headers.every(({ name, value }) => exchange.header(name) === value)
  }

  connection(edge: AccessEdgeDescription, record: AccessRecord): boolean {
    return !this.#ofRequests && this.#fitsBoth(edge, record)
  }

  /** How it will end is not known yet. */
  opened(edge: AccessEdgeDescription, record: AccessRecord): boolean {
    const { flags, minDurationMs } = this.#filter
    return flags.length === 0 && minDurationMs === 0 && this.connection(edge, record)
  }

  #fitsBoth(edge: AccessEdgeDescription, record: AccessRecord): boolean {
    const { end, from, to, namespace, service, flags, minDurationMs } = this.#filter
    if (record.durationMs < minDurationMs) return false
    if (flags.length > 0 && !flags.includes(record.flags)) return false
    if (service !== '' && !isService(service, edge.destinationService)) return false
    const source = { pod: edge.source, identity: edge.sourceIdentity, address: record.sourceAddress, service: '' }
    const destination = {
      pod: edge.destination,
      identity: edge.destinationIdentity,
      address: record.upstream,
      service: edge.destinationService,
    }
    if (from !== '' && !this.#isEnd(from, source)) return false
    if (to !== '' && !this.#isEnd(to, destination)) return false
    if (end !== '' && !this.#isEnd(end, source) && !this.#isEnd(end, destination)) return false
    return namespace === '' || isInNamespace(namespace, source) || isInNamespace(namespace, destination)
  }

  #isEnd(text: string, { pod, identity, address, service }: Side): boolean {
    if (text === 'unknown') return pod === ''
    if (text.includes('://')) return text === identity
    if (pod !== '') {
      const slash = pod.indexOf('/')
      const namespace = pod.slice(0, slash + 1)
      if (text === pod || text === pod.slice(slash + 1)) return true
      const owner = this.#ownerOf(pod)
      if (owner !== undefined && (text === owner || text === namespace + owner)) return true
    }
    return text === address || text === hostOf(address) || (service !== '' && isService(text, service))
  }
}

/** Of `ip:port`, the address alone; of IPv6 without its brackets. */
function hostOf(address: string): string {
  if (address.startsWith('[')) return address.slice(1, address.indexOf(']'))
  return address.includes('.') ? (address.split(':', 1)[0] ?? '') : address
}

function isService(text: string, host: string): boolean {
  if (text === host) return true
  const [namespace = '', name] = text.split('/')
  return name === undefined ? host.startsWith(`${text}.`) && isOurs(host) : host.startsWith(`${name}.${namespace}.svc.`)
}

/** A host outside is meant by its whole name only. */
function isOurs(host: string): boolean {
  return host.includes('.svc.')
}

function isInNamespace(namespace: string, { pod, service }: Side): boolean {
  return pod.startsWith(`${namespace}/`) || service.split('.svc.', 1)[0]?.split('.')[1] === namespace
}
