/** The objects of a cluster as its API gives and takes them, without a server: for tests of what is written there. */
import { KubernetesError, type Method, type RequestOptions } from '#kubernetes'

export interface HeldObject {
  readonly metadata: Readonly<Record<string, unknown>> & { readonly name: string; readonly resourceVersion?: string }
  readonly [field: string]: unknown
}

export class MemoryCluster {
  readonly objects = new Map<string, HeldObject>()
  /** Of what has changed something, as `PUT /api/…`. */
  readonly writes: string[] = []
  /** Requests so far, reads among them. */
  requests = 0
  /** Told of each request before it is answered; what it throws is the answer. */
  onRequest: (method: Method, path: string) => void = () => undefined
  #version = 0

  request = async (method: Method, path: string, options?: RequestOptions): Promise<unknown> => {
    this.requests++
    this.onRequest(method, path)
    const body = options?.body as HeldObject
    if (method === 'GET') return this.#found(method, path)
    if (method === 'POST') {
      const full = `${path}/${body.metadata.name}`
      if (this.objects.has(full)) throw failure(409, method, path)
      return this.#put(method, full, body)
    }
    const before = this.#found(method, path.replace(/\/status$/, ''))
    const asked = body.metadata?.resourceVersion
    if (asked !== undefined && asked !== before.metadata.resourceVersion) throw failure(409, method, path)
    if (method === 'PUT') return this.#put(method, path, body)
    const merged = { ...before, ...body, metadata: { ...before.metadata, ...body.metadata } }
    return this.#put(method, path.replace(/\/status$/, ''), merged)
  }

  /** As somebody else would. */
  put(path: string, object: HeldObject): void {
    this.#put('PUT', path, object)
    this.writes.pop()
  }

  #found(method: Method, path: string): HeldObject {
    const found = this.objects.get(path)
    if (found === undefined) throw failure(404, method, path)
    return found
  }

  #put(method: Method, path: string, object: HeldObject): HeldObject {
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) }
    const held = { ...object, metadata }
    this.objects.set(path, held)
    this.writes.push(`${method} ${path}`)
    return held
  }
}

function failure(status: number, method: Method, path: string): KubernetesError {
  return new KubernetesError({ status, reason: `Status${status}`, message: `${method} ${path}: ${status}` })
}
