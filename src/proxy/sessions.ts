/**
 * Session persistence (GEP-1619): requests that bring a token of the rule go to the backend and endpoint where it was made,
 * whatever the weights say now; answers bring a new one where there was none, it leads nowhere any more, or grows old.
 */
import type { Endpoint, SessionPlan } from '#contract'
import type { Snapshot } from '#mesh'
import {
  type Candidate,
  cookiesOf,
  type ForwardDecision,
  type SessionPins,
  type Shares,
  usableEndpoints,
} from '#routing'
import type { HttpExchange } from './http-exchange.ts'
import { SessionScope, type SessionToken } from './session-token.ts'

/** Scopes remembered; beyond it the table starts over. */
const MAX_SCOPES = 1024
/** Tokens looked at in one request: a browser may send several of one name. */
const MAX_TOKENS = 8
/** The time of the last use is told again after this share of the idle timeout. */
const REFRESH_SHARE = 0.1

/** Of one request. */
export interface SessionState {
  readonly plan: SessionPlan
  readonly scope: Scope
  /** Path attribute of the cookie. */
  readonly path: string
  /** What the client brought, if it is good. */
  readonly token: SessionToken | undefined
  /** Where the request goes. */
  chosen: { readonly decision: ForwardDecision; readonly endpoint: Endpoint } | undefined
}

interface Scope {
  readonly ids: SessionScope
  /** By list: the endpoints by their names in tokens. */
  readonly endpoints: WeakMap<readonly Endpoint[], ReadonlyMap<string, Endpoint>>
}

export class Sessions implements SessionPins<HttpExchange> {
  readonly #trustDomain: string
  readonly #host: { readonly snapshot: Snapshot }
  readonly #scopes = new Map<string, Scope>()

  constructor(trustDomain: string, host: { readonly snapshot: Snapshot }) {
    this.#trustDomain = trustDomain
    this.#host = host
  }

  pin(
    { route, rule, ruleName = '', cookiePath }: Candidate,
    shares: Shares,
    exchange: HttpExchange,
  ): ForwardDecision | undefined {
    const plan = rule?.session
    if (plan === undefined) return undefined
    const scope = this.#scopeOf(`${route.namespace}/${route.name}`, ruleName, plan.seed)
    const token = readToken(plan, scope.ids, exchange, Date.now())
    exchange.session = { plan, scope, path: cookiePath, token, chosen: undefined }
    if (token === undefined) return undefined
    for (const { outcome, backend } of [...shares.list, ...shares.unweighted]) {
      if (outcome.kind !== 'forward' || scope.ids.backendId(backend) !== token.backend) continue
      return usableEndpoints(outcome.endpoints).length === 0 ? undefined : outcome
    }
    return undefined
  }

  /** The endpoint of the session among these; undefined when it is not there. */
  endpointOf({ scope, token }: SessionState, endpoints: readonly Endpoint[]): Endpoint | undefined {
    return token === undefined ? undefined : this.#byId(scope, endpoints).get(token.endpoint)
  }

  #byId(scope: Scope, endpoints: readonly Endpoint[]): ReadonlyMap<string, Endpoint> {
    let byId = scope.endpoints.get(endpoints)
    if (byId === undefined) {
      byId = new Map(endpoints.map((endpoint) => [this.#idOf(scope, endpoint), endpoint]))
      scope.endpoints.set(endpoints, byId)
    }
    return byId
  }

  /** A pod by its uid: whoever has its address later is another, and its name cannot be guessed. */
  #idOf({ ids }: Scope, { workload, address, port }: Endpoint): string {
    const uid = workload === undefined ? undefined : this.#host.snapshot.workload(workload)?.uid
    return ids.endpointId(`${uid ?? address} ${port}`)
  }

  #scopeOf(route: string, rule: string, seed: string): Scope {
    const key = `${route} ${rule} ${seed}`
    let scope = this.#scopes.get(key)
    if (scope === undefined) {
      if (this.#scopes.size >= MAX_SCOPES) this.#scopes.clear()
      scope = { ids: new SessionScope(this.#trustDomain, route, rule, seed), endpoints: new WeakMap() }
      this.#scopes.set(key, scope)
    }
    return scope
  }

  /** The header that tells the client of its session, when there is something new to tell. */
  header({ plan, scope, path, token, chosen }: SessionState): readonly [name: string, value: string] | undefined {
    if (chosen === undefined) return undefined
    const { service, port } = chosen.decision
    const nowMs = Date.now()
    const backend = scope.ids.backendId(`${service.namespace}/${service.name}:${port}`)
    const endpoint = this.#idOf(scope, chosen.endpoint)
    const same = token?.backend === backend && token.endpoint === endpoint ? token : undefined
    const { idleTimeoutMs } = plan
    const old = idleTimeoutMs !== undefined && nowMs - (same?.usedMs ?? 0) >= idleTimeoutMs * REFRESH_SHARE
    if (same !== undefined && !old) return undefined
    const startedMs = same?.startedMs ?? nowMs
    const sealed = scope.ids.seal({ backend, endpoint, startedMs, usedMs: nowMs })
    if (plan.type === 'Header') return [plan.name, sealed]
    return ['set-cookie', renderCookie(plan, path, sealed, startedMs, nowMs)]
  }
}

/** Not `Secure`: within a mesh the application itself speaks plain HTTP. */
function renderCookie(
  { name, permanent, absoluteTimeoutMs = 0 }: SessionPlan,
  path: string,
  value: string,
  startedMs: number,
  nowMs: number,
): string {
  const endMs = startedMs + absoluteTimeoutMs
  const seconds = Math.max(0, Math.ceil((endMs - nowMs) / 1000))
  const lifetime = permanent ? `; Max-Age=${seconds}; Expires=${new Date(endMs).toUTCString()}` : ''
  return `${name}=${value}; Path=${attributeOf(path)}${lifetime}; HttpOnly; SameSite=Strict`
}

/** Up to the last element before what would end the attribute. */
function attributeOf(path: string): string {
  const end = path.search(/[;,\s]/)
  return end < 0 ? path : path.slice(0, path.lastIndexOf('/', end)) || '/'
}

function readToken(
  { type, name, absoluteTimeoutMs, idleTimeoutMs }: SessionPlan,
  ids: SessionScope,
  exchange: HttpExchange,
  nowMs: number,
): SessionToken | undefined {
  const header = exchange.header(type === 'Header' ? name : 'cookie')
  if (header === undefined) return undefined
  const values = type === 'Header' ? [header] : cookiesOf(header, name)
  for (const value of values.slice(0, MAX_TOKENS)) {
    const token = ids.open(value)
    if (token === undefined) continue
    if (absoluteTimeoutMs !== undefined && nowMs - token.startedMs >= absoluteTimeoutMs) continue
    if (idleTimeoutMs !== undefined && nowMs - token.usedMs >= idleTimeoutMs) continue
    return token
  }
  return undefined
}
