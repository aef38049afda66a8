/**
 * The head of a request of HTTP/1.1: what its target names (RFC 9112 section 3.2), whether it asks for a tunnel, and how it
 * reads where it is sent. No state.
 */
import type { HeaderEdit } from '#contract'
import type { Head } from '#http'
import type { ExchangeTarget } from './exchange-target.ts'
import { HELD } from './held-body.ts'
import type { HttpExchange } from './http-exchange.ts'
import { linesOf, renderCopy, renderRequest } from './render.ts'
import type { RequestTrace } from './request-trace.ts'
import type { Services } from './services.ts'

/** An upgrade to HTTP/2 would carry requests that nothing judges: it is left out, as RFC 9110 section 7.8 allows. */
const NOT_TUNNELLED = /(?:^|,)\s*(?:h2c?|http)\s*(?:\/|,|$)/i
const NO_EDITS: readonly HeaderEdit[] = Object.freeze([])

interface NamedTarget {
  authority: string
  path: string
  query: string
}

/** Sets what the request target and the Host header name. */
export function nameTarget(head: Head, named: NamedTarget): void {
  let target = head.target
  named.authority = head.hostIndex >= 0 ? head.value(head.hostIndex) : ''
  if (target.charCodeAt(0) !== 47 && target !== '*') {
    if (head.method === 'CONNECT') {
      named.authority = target
      named.path = '/'
      named.query = ''
      return
    }
    // Absolute form: its authority replaces the Host header (RFC 9112 section 3.2.2).
    const authorityStart = target.indexOf('//') + 2
    const pathStart = target.slice(authorityStart).search(/[/?]/)
    named.authority =
      pathStart < 0 ? target.slice(authorityStart) : target.slice(authorityStart, authorityStart + pathStart)
    target = pathStart < 0 ? '/' : target.slice(authorityStart + pathStart)
    if (target.charCodeAt(0) === 63) target = `/${target}`
  }
  const question = target.indexOf('?')
  if (question < 0) {
    named.path = target
    named.query = ''
  } else {
    named.path = target.slice(0, question)
    named.query = target.slice(question + 1)
  }
}

/** The request asks for bytes both ways behind its answer, and may have them. */
export function asksTunnel(head: Head): boolean {
  return (
    head.method === 'CONNECT' ||
    (head.connectionUpgrade &&
      head.upgradeIndex >= 0 &&
      head.minor === 1 &&
      !NOT_TUNNELLED.test(head.value(head.upgradeIndex)))
  )
}

/**
 * As it is sent to `target`. `traceparent`: to be added, if not empty. `tunnel`: what `asksTunnel` says. `length`: of a body
 * that was translated.
 */
export function renderHead(
  services: Services,
  exchange: HttpExchange,
  head: Head,
  target: ExchangeTarget,
  traceparent: string,
  traced: RequestTrace | undefined,
  tunnel: boolean,
  length: number | undefined,
): string {
  const { decision } = target
  let extra = target.identityLines
  if (traceparent !== '') extra += `traceparent: ${traceparent}\r\n`
  if (traced !== undefined) extra += linesOf(traced.b3Fields(target.reporters))
  const isConnect = head.method === 'CONNECT'
  let host: string | undefined
  let requestTarget = head.target
  if (requestTarget.charCodeAt(0) !== 47 || head.hostIndex < 0) {
    host = isConnect && head.hostIndex >= 0 ? undefined : exchange.authority || services.originalAuthority(exchange)
  }
  if (decision !== undefined) {
    if (decision.rewrites) requestTarget = services.rewriteTarget(decision, exchange)
    if (decision.hostname !== undefined) host = decision.hostname
  }
  const ofRoute = decision?.requestEdits ?? NO_EDITS
  // Of no decision there is no version.
  const translated = exchange.versioned?.translated
  const rendering = {
    target: translated === undefined || isConnect ? requestTarget : translated.target,
    host,
    extra,
    edits: translated === undefined ? ofRoute : [...ofRoute, translated.edit()],
    upgrade: tunnel && !isConnect,
    dropTrace: traced !== undefined,
  }
  if (length === undefined) return renderRequest(head, rendering)
  return renderRequest(head, { ...rendering, edits: [...rendering.edits, HELD], length })
}

/** As its mirrors get it. */
export function renderHeadOfCopy(services: Services, exchange: HttpExchange, head: Head): string {
  const host = head.hostIndex >= 0 ? undefined : exchange.authority || services.originalAuthority(exchange)
  return renderCopy(head, host)
}
