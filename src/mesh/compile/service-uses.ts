/** Which Services a pod may concern: those whose selector it may fulfil, and those with an endpoint at its address. */
import { canonicalAddress, type EndpointSliceObject, type PodObject, type ServiceObject } from '#resources'
import { labelKey } from './pod-selection.ts'
import { serviceOfSlice } from './services.ts'

export class ServiceUses {
  /** By one label of their selectors. */
  readonly #byLabel = new Map<string, Set<string>>()
  /** By the addresses of endpoints that name no pod; how many slices say so. */
  readonly #byAddress = new Map<string, Map<string, number>>()

  addService({ metadata: { namespace, name }, spec: { selector } }: ServiceObject): void {
    const first = Object.entries(selector)[0]
    if (first === undefined) return
    const key = labelKey(namespace, ...first)
    const found = this.#byLabel.get(key)
    if (found === undefined) this.#byLabel.set(key, new Set([`${namespace}/${name}`]))
    else found.add(`${namespace}/${name}`)
  }

  removeService({ metadata: { namespace, name }, spec: { selector } }: ServiceObject): void {
    const first = Object.entries(selector)[0]
    if (first === undefined) return
    const key = labelKey(namespace, ...first)
    const found = this.#byLabel.get(key)
    if (found?.delete(`${namespace}/${name}`) === true && found.size === 0) this.#byLabel.delete(key)
  }

  addSlice(slice: EndpointSliceObject): void {
    this.#count(slice, 1)
  }

  removeSlice(slice: EndpointSliceObject): void {
    this.#count(slice, -1)
  }

  #count(slice: EndpointSliceObject, change: number): void {
    const service = serviceOfSlice(slice)
    if (service === undefined) return
    for (const address of looseAddresses(slice)) {
      const uses = this.#byAddress.get(address) ?? new Map<string, number>()
      const count = (uses.get(service) ?? 0) + change
      if (count > 0) uses.set(service, count)
      else uses.delete(service)
      if (uses.size > 0) this.#byAddress.set(address, uses)
      else this.#byAddress.delete(address)
    }
  }

  ofPod({ metadata: { namespace, labels } }: PodObject, addresses: readonly string[], into: Set<string>): void {
    for (const name in labels) {
      for (const service of this.#byLabel.get(labelKey(namespace, name, labels[name])) ?? []) into.add(service)
    }
    for (const address of addresses) {
      for (const service of this.#byAddress.get(address)?.keys() ?? []) into.add(service)
    }
  }
}

function looseAddresses({ endpoints }: EndpointSliceObject): string[] {
  return endpoints.flatMap(({ addresses, targetRef }) =>
    targetRef?.kind === 'Pod' && targetRef.name !== undefined ? [] : (canonicalAddress(addresses[0] ?? '') ?? []),
  )
}
