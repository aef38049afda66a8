/** What is in progress at each endpoint, and how soon it answers: one load for each address and port, whatever Service has it. */
import type { Endpoint, EndpointLatency } from '#contract'
import { type EndpointLoad, type LoadOf, newEndpointLoad } from '#routing'
import { socketText } from './socket-name.ts'

/** Loads kept; beyond it those of idle endpoints are forgotten. */
const MAX_REMEMBERED = 4096
/** Of endpoints that have answered, so many are told. */
const MAX_LATENCIES = 300

export class EndpointLoads {
  readonly of: LoadOf
  /** Monotonic milliseconds. */
  readonly #now: () => number
  readonly #bySocket = new Map<string, EndpointLoad>()
  readonly #byEndpoint = new WeakMap<Endpoint, EndpointLoad>()

  constructor(now: () => number) {
    this.#now = now
    this.of = (endpoint) => this.#look(endpoint)
  }

  #look(endpoint: Endpoint): EndpointLoad {
    let load = this.#byEndpoint.get(endpoint)
    if (load === undefined) {
      const key = `${endpoint.address} ${endpoint.port}`
      load = this.#bySocket.get(key)
      if (load === undefined) {
        load = newEndpointLoad(this.#now())
        this.#bySocket.set(key, load)
      }
      this.#byEndpoint.set(endpoint, load)
    }
    return load
  }

  /** Forgets endpoints without load once there are many. */
  sweep(): void {
    if (this.#bySocket.size <= MAX_REMEMBERED) return
    for (const [key, load] of this.#bySocket) if (load.active === 0) this.#bySocket.delete(key)
  }

  /** What endpoints took since this was last asked for. */
  takeLatencies(): readonly EndpointLatency[] {
    const taken: EndpointLatency[] = []
    for (const [key, load] of this.#bySocket) {
      const { answers, answersMs } = load
      if (answers === 0) continue
      const [address = '', port = ''] = key.split(' ')
      taken.push({ endpoint: socketText({ address, port: Number(port) }), answers, answersMs })
      load.answers = 0
      load.answersMs = 0
    }
    return taken.sort((a, b) => b.answers - a.answers).slice(0, MAX_LATENCIES)
  }
}
