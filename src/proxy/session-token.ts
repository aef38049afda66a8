/**
 * What a client keeps of its session: which backend and which endpoint it belongs to, by names that tell nothing, since when,
 * and when it was used last. Sealed, so that nobody makes one up or carries it from one rule to another; all nodes seal alike.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'

export interface SessionToken {
  /** As `SessionScope.backendId` and `endpointId` make them. */
  readonly backend: string
  readonly endpoint: string
  /** Milliseconds since the epoch. */
  readonly startedMs: number
  readonly usedMs: number
}

const VERSION = 1
const BACKEND_BYTES = 6
const ENDPOINT_BYTES = 9
const TIME_BYTES = 6
const SEAL_BYTES = 12
const BODY_BYTES = 1 + BACKEND_BYTES + ENDPOINT_BYTES + 2 * TIME_BYTES
const TEXT_LENGTH = Math.ceil(((BODY_BYTES + SEAL_BYTES) * 4) / 3)

/** What the sessions of one rule have in common. */
export class SessionScope {
  readonly #key: Buffer

  /** @param seed what, beside the names, makes the key; see `SessionPlan` */
  constructor(trustDomain: string, route: string, rule: string, seed: string) {
    this.#key = createHmac('sha256', 'weir session').update([trustDomain, route, rule, seed].join('\0')).digest()
  }

  backendId(name: string): string {
    return this.#id(`backend ${name}`, BACKEND_BYTES)
  }

  endpointId(name: string): string {
    return this.#id(`endpoint ${name}`, ENDPOINT_BYTES)
  }

  #id(text: string, bytes: number): string {
    return createHmac('sha256', this.#key).update(text).digest().toString('base64url', 0, bytes)
  }

  seal({ backend, endpoint, startedMs, usedMs }: SessionToken): string {
    const body = Buffer.alloc(BODY_BYTES)
    body[0] = VERSION
    body.write(backend, 1, 'base64url')
    body.write(endpoint, 1 + BACKEND_BYTES, 'base64url')
    body.writeUIntBE(startedMs, 1 + BACKEND_BYTES + ENDPOINT_BYTES, TIME_BYTES)
    body.writeUIntBE(usedMs, 1 + BACKEND_BYTES + ENDPOINT_BYTES + TIME_BYTES, TIME_BYTES)
    return Buffer.concat([body, this.#seal(body)]).toString('base64url')
  }

  /** Undefined for whatever was not sealed in this scope. */
  open(text: string): SessionToken | undefined {
    if (text.length !== TEXT_LENGTH) return undefined
    const bytes = Buffer.from(text, 'base64url')
    if (bytes.length !== BODY_BYTES + SEAL_BYTES || bytes[0] !== VERSION) return undefined
    const body = bytes.subarray(0, BODY_BYTES)
    if (!timingSafeEqual(bytes.subarray(BODY_BYTES), this.#seal(body))) return undefined
    const times = 1 + BACKEND_BYTES + ENDPOINT_BYTES
    return {
      backend: body.toString('base64url', 1, 1 + BACKEND_BYTES),
      endpoint: body.toString('base64url', 1 + BACKEND_BYTES, times),
      startedMs: body.readUIntBE(times, TIME_BYTES),
      usedMs: body.readUIntBE(times + TIME_BYTES, TIME_BYTES),
    }
  }

  #seal(body: Buffer): Buffer {
    return createHmac('sha256', this.#key).update('seal').update(body).digest().subarray(0, SEAL_BYTES)
  }
}
