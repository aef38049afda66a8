/**
 * The head of a request of HTTP/2 as it goes to its target: rewritten and edited by the route, in the version that the
 * Service speaks, with the identity of the pod, its trace and the time it has left.
 */
import type { HeaderEdit } from '#contract'
import type { ExchangeTarget } from './exchange-target.ts'
import { renderGrpcTimeout } from './grpc.ts'
import { HELD } from './held-body.ts'
import type { HttpExchange } from './http-exchange.ts'
import {
  DROP_B3,
  DROP_TIMEOUT,
  DROP_TRACEPARENT,
  DROP_TRACESTATE,
  requestFields,
  withoutField,
} from './http2-fields.ts'
import type { Http2Request } from './http2-request.ts'
import type { RequestTrace } from './request-trace.ts'
import type { Services } from './services.ts'

const NO_EDITS: readonly HeaderEdit[] = Object.freeze([])

/**
 * @param traceparent to be added; empty: that of the client goes on
 * @param heldLength of a body that was held and translated; undefined: it passes as it comes
 */
export function renderForTarget(
  services: Services,
  exchange: HttpExchange,
  request: Http2Request,
  target: ExchangeTarget,
  traceparent: string,
  traced: RequestTrace | undefined,
  heldLength: number | undefined,
): readonly string[] {
  const { decision } = target
  let added = target.identityFields
  if (traceparent !== '') added = [...added, 'traceparent', traceparent]
  if (traced !== undefined) added = [...added, ...traced.b3Fields(target.reporters)]
  const routeMs = exchange.grpc ? decision?.requestTimeoutMs : undefined
  // The server shall know how long the call may take here, too.
  const shorter = routeMs !== undefined && (request.grpcTimeoutMs === undefined || routeMs < request.grpcTimeoutMs)
  if (shorter) added = [...added, 'grpc-timeout', renderGrpcTimeout(routeMs)]
  let edits = decision?.requestEdits ?? NO_EDITS
  let { fields } = request
  const translated = exchange.versioned?.translated
  if (translated !== undefined) edits = [...edits, translated.edit()]
  if (heldLength !== undefined) {
    edits = [...edits, HELD]
    fields = withoutField(fields, 'content-length')
    added = [...added, 'content-length', String(heldLength)]
  }
  const routed = decision?.rewrites === true ? services.rewriteTarget(decision, exchange) : request.target
  return requestFields(
    {
      method: request.protocol === '' ? exchange.method : 'CONNECT',
      scheme: request.scheme,
      authority: decision?.hostname ?? (exchange.authority || services.originalAuthority(exchange)),
      path: translated === undefined ? routed : translated.target,
      protocol: request.protocol,
    },
    fields,
    request.firstField,
    edits,
    added,
    traceDrops(request, traced) | (shorter ? DROP_TIMEOUT : 0),
  )
}

function traceDrops(request: Http2Request, traced: RequestTrace | undefined): number {
  const ofRequest = request.traceparent === '' ? DROP_TRACEPARENT | DROP_TRACESTATE : 0
  return traced === undefined ? ofRequest : ofRequest | DROP_TRACEPARENT | DROP_B3
}
