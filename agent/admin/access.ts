/**
 * Who may ask at an address that others reach: whoever shows the token, as `Authorization: Bearer`, or in the cookie that
 * `POST /login` sets for browsers. What probes and Prometheus ask is open, and so is the page without anything in it.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { errorReply, type Reply } from './reply.ts'
import { WrongTokens } from './wrong-tokens.ts'

export interface AdminAccess {
  /** The token as of now; a file may have been replaced. */
  token(): string
  /** `/metrics` asks for it too. */
  readonly protectsMetrics: boolean
}

export interface Asker {
  readonly headers: IncomingHttpHeaders
  readonly remoteAddress: string | undefined
}

export const LOGIN_PATH = '/login'
export const LOGOUT_PATH = '/logout'
/** Then a browser logs in again. */
const SESSION_MS = 12 * 3_600_000

export class Gatekeeper {
  readonly #access: AdminAccess
  readonly #now: () => number
  readonly #wrong = new WrongTokens()

  /** @param now ms since the epoch */
  constructor(access: AdminAccess, now: () => number = Date.now) {
    this.#access = access
    this.#now = now
  }

  /** Why a path is not answered; undefined when it is. */
  refuse(path: string, asker: Asker): Reply | undefined {
    if (path.startsWith('/healthz/') || (path === '/metrics' && !this.#access.protectsMetrics)) return undefined
    if (this.#hasSession(asker.headers.cookie ?? '')) return undefined
    return this.#refuseToken(asker)
  }

  /** `Authorization` is what a page of another origin cannot send without being allowed to: no form logs anybody in. */
  logIn(asker: Asker): Reply {
    const refusal = this.#refuseToken(asker)
    if (refusal !== undefined) return refusal
    const expiresMs = this.#now() + SESSION_MS
    return cookieReply(`${this.#cookieName()}=${expiresMs}.${this.#seal(String(expiresMs))}`, SESSION_MS / 1000)
  }

  logOut(): Reply {
    return cookieReply(`${this.#cookieName()}=`, 0)
  }

  #refuseToken({ headers, remoteAddress = '' }: Asker): Reply | undefined {
    const [, given = ''] = /^Bearer ([\x21-\x7e]+)$/i.exec(headers.authorization ?? '') ?? []
    if (given === '') return withChallenge(errorReply(401, 'A token is asked for here: Authorization: Bearer TOKEN'))
    const nowMs = this.#now()
    if (!this.#wrong.mayTry(remoteAddress, nowMs)) {
      const busy = errorReply(429, 'Too many wrong tokens from this address: try again in some seconds')
      return { ...busy, headers: { 'retry-after': '5' } }
    }
    if (isSame(given, this.#access.token())) return undefined
    this.#wrong.note(remoteAddress, nowMs)
    return withChallenge(errorReply(401, 'The token is wrong'))
  }

  #hasSession(cookies: string): boolean {
    const name = this.#cookieName()
    return cookies.split(';').some((cookie) => {
      const [, found, expiresMs = '', seal = ''] =
        /^\s*(weir-[0-9a-f]{8})=(\d{13,15})\.([\w-]{43})\s*$/.exec(cookie) ?? []
      return found === name && Number(expiresMs) > this.#now() && isSame(seal, this.#seal(expiresMs))
    })
  }

  /** Cookies know no ports: agents behind several forwarded ports of one address have one each, by their tokens. */
  #cookieName(): string {
    return `weir-${this.#hmac('name').subarray(0, 4).toString('hex')}`
  }

  #seal(expiresMs: string): string {
    return this.#hmac(`session ${expiresMs}`).toString('base64url')
  }

  #hmac(text: string): Buffer {
    return createHmac('sha256', this.#access.token()).update(text).digest()
  }
}

/** In a time that does not tell where they differ. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}

function cookieReply(cookie: string, maxAgeSeconds: number): Reply {
  const attributes = `Path=/; Max-Age=${maxAgeSeconds}; HttpOnly; SameSite=Strict`
  return { status: 204, contentType: 'text/plain', body: '', headers: { 'set-cookie': `${cookie}; ${attributes}` } }
}

function withChallenge(reply: Reply): Reply {
  return { ...reply, headers: { 'www-authenticate': 'Bearer realm="weir"' } }
}
