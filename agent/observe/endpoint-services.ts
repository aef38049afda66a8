/** Of which Services the endpoints are that proxies tell of by their addresses. */
import type { LookAnswer } from '#contract'
import type { Snapshot } from '#mesh'
import type { EndpointSample } from '#observer'

interface Place {
  /** `namespace/name:port`. */
  readonly services: string[]
  pod: string
}

/** Of a look; the busiest are kept. */
const MAX_ENDPOINTS = 300

export class EndpointServices {
  #snapshot: Snapshot | undefined
  /** Of endpoints that were told of since the objects changed. */
  #places = new Map<string, Place>()

  samples(snapshot: Snapshot, answers: readonly Pick<LookAnswer, 'endpoints'>[]): readonly EndpointSample[] {
    const sums = new Map<string, { answers: number; answersMs: number }>()
    for (const { endpoint, answers: count, answersMs } of answers.flatMap(({ endpoints }) => endpoints)) {
      const sum = sums.get(endpoint) ?? { answers: 0, answersMs: 0 }
      sums.set(endpoint, { answers: sum.answers + count, answersMs: sum.answersMs + answersMs })
    }
    this.#find(snapshot, sums)
    return [...sums]
      .sort((a, b) => b[1].answers - a[1].answers)
      .slice(0, MAX_ENDPOINTS)
      .flatMap(([endpoint, sum]) => {
        const { services = [], pod = '' } = this.#places.get(endpoint) ?? {}
        return services.map((service) => ({ service, endpoint, pod, ...sum }))
      })
  }

  /** Looks through all Services, but only when there is an endpoint that is not known. */
  #find(snapshot: Snapshot, wanted: ReadonlyMap<string, unknown>): void {
    if (snapshot !== this.#snapshot) this.#places = new Map()
    this.#snapshot = snapshot
    const missing = new Map<string, Place>()
    for (const endpoint of wanted.keys()) {
      if (!this.#places.has(endpoint)) missing.set(endpoint, { services: [], pod: '' })
    }
    if (missing.size === 0) return
    for (const { namespace, name, endpoints } of snapshot.services()) {
      for (const [port, list] of Object.entries(endpoints)) {
        for (const { address, port: to, workload } of list) {
          const place = missing.get(address.includes(':') ? `[${address}]:${to}` : `${address}:${to}`)
          if (place === undefined) continue
          place.services.push(`${namespace}/${name}:${port}`)
          place.pod = workload ?? place.pod
        }
      }
    }
    for (const [endpoint, place] of missing) this.#places.set(endpoint, place)
  }
}
