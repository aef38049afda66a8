/** The question put to `explain`: `from=NS/POD&to=URL&method=M&header=K:V` (header any number of times)&sni=NAME. */
import { isIP } from 'node:net'

export interface ExplainQuery {
  /** `namespace/name` of the client's pod. */
  readonly from: string
  readonly to: URL
  readonly method: string
  /** Lower-case name to value; values of equal names are joined with `, `. */
  readonly headers: ReadonlyMap<string, string>
  /** Server name of TLS: as asked, else the host of an `https://` URL; undefined where there is no TLS. */
  readonly sni: string | undefined
}

/** Of schemes that clients write: what the mesh sees of them. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['ws:', 'the handshake of a WebSocket is a GET, ask for http://'],
  ['wss:', 'a WebSocket in TLS is TLS to the mesh, ask for https://'],
  ['grpc:', 'a call is a POST, ask for http://HOST:PORT/SERVICE/METHOD with --method POST'],
])

/** The question, or one line saying what is wrong with it. */
export function readExplainQuery(query: URLSearchParams): ExplainQuery | string {
  const from = query.get('from') ?? ''
  if (!/^[^/]+\/[^/]+$/.test(from)) return 'Field from: expected NAMESPACE/POD, such as shop/web-1'
  const text = query.get('to') ?? ''
  const to = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`)
  if (to === null || to.hostname === '')
    return `Field to: ${JSON.stringify(text)} is not a URL such as http://reviews:8080/v1`
  if (to.protocol !== 'http:' && to.protocol !== 'https:' && to.protocol !== 'tcp:') {
    const hint = HINTS.get(to.protocol)
    return `Field to: scheme ${to.protocol}// is none of http://, https://, tcp://${hint === undefined ? '' : `: ${hint}`}`
  }
  const method = query.get('method') ?? 'GET'
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method))
    return `Field method: ${JSON.stringify(method)} is not an HTTP method`
  const headers = new Map<string, string>()
  for (const line of query.getAll('header')) {
    const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*(.*)$/s.exec(line)
    if (parts === null) return `Field header: ${JSON.stringify(line)} is not NAME:VALUE`
    const name = (parts[1] ?? '').toLowerCase()
    const before = headers.get(name)
    headers.set(name, before === undefined ? (parts[2] ?? '') : `${before}, ${parts[2] ?? ''}`)
  }
  const asked = query.get('sni')?.toLowerCase().replace(/\.$/, '')
  if (asked !== undefined && to.protocol === 'http:')
    return 'Field sni: plain HTTP names no server, write https:// or tcp://'
  const host = to.protocol === 'https:' && isIP(to.hostname.replace(/^\[|\]$/g, '')) === 0 ? to.hostname : undefined
  return { from, to, method, headers, sni: asked ?? (to.protocol === 'https:' ? (host ?? '') : undefined) }
}
