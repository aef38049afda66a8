/**
 * A receiver of traces by OTLP over HTTP with JSON (opentelemetry.io/docs/specs/otlp): each span is printed as a line of
 * JSON. `node otlp-receiver-command.ts HOST PORT [STATUS]`; with a status it takes none, and answers with that.
 */
import http from 'node:http'

interface AttributeValue {
  readonly stringValue?: string
  readonly intValue?: number | string
  readonly doubleValue?: number
  readonly boolValue?: boolean
}
interface KeyValue {
  readonly key: string
  readonly value: AttributeValue
}
interface SentSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly flags?: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly KeyValue[]
  readonly events?: readonly { readonly name: string; readonly attributes: readonly KeyValue[] }[]
  readonly status: { readonly code?: number; readonly message?: string }
}
interface Request {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] }
    readonly scopeSpans: readonly { readonly scope: { readonly name: string }; readonly spans: readonly SentSpan[] }[]
  }[]
}

const KINDS = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer']
const CODES = ['unset', 'ok', 'error']

function plain(attributes: readonly KeyValue[]): Record<string, string | number | boolean | undefined> {
  return Object.fromEntries(
    attributes.map(({ key, value: { stringValue, intValue, doubleValue, boolValue } }) => [
      key,
      stringValue ?? (intValue === undefined ? undefined : Number(intValue)) ?? doubleValue ?? boolValue,
    ]),
  )
}

function print({ resourceSpans }: Request): void {
  for (const { resource, scopeSpans } of resourceSpans) {
    for (const { scope, spans } of scopeSpans) {
      for (const span of spans) {
        const line = {
          scope: scope.name,
          resource: plain(resource.attributes),
          name: span.name,
          kind: KINDS[span.kind],
          traceId: span.traceId,
          spanId: span.spanId,
          parentId: span.parentSpanId ?? '',
          sampled: ((span.flags ?? 0) & 1) === 1,
          startMs: Number(BigInt(span.startTimeUnixNano) / 1000n) / 1000,
          durationMs: Number((BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1000n) / 1000,
          attributes: plain(span.attributes),
          events: (span.events ?? []).map(({ name, attributes }) => ({ name, attributes: plain(attributes) })),
          status: CODES[span.status.code ?? 0],
          message: span.status.message ?? '',
        }
        console.log(JSON.stringify(line))
      }
    }
  }
}

const [host = '', port = '', status = '200'] = process.argv.slice(2)
http
  .createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const isMeant = request.method === 'POST' && request.url === '/v1/traces'
      const isJson = request.headers['content-type'] === 'application/json'
      if (isMeant && isJson && status === '200') print(JSON.parse(Buffer.concat(chunks).toString()) as Request)
      response.writeHead(isMeant && isJson ? Number(status) : 404, { 'content-type': 'application/json' }).end('{}')
    })
  })
  .listen(Number(port), host, () => console.log('listening'))
