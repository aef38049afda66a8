/**
 * Heads of HTTP/1.1: the same answer however the bytes come, nothing of the head before in a reader used again, and what
 * is rendered from a request reads as that request.
 */
import { Head, PARSE_BAD, PARSE_DONE, PARSE_MORE } from '#http'
import { renderRequest } from '../../../src/proxy/render.ts'
import { cutsOf, type FuzzTarget, rule } from '../target.ts'
import { HTTP1_WORDS } from './http1-words.ts'

const MAX_HEAD_BYTES = 1024
const MAX_HEADERS = 24
const NAMES = ['more', 'done', 'bad'] as const
const KINDS = ['parseRequest', 'parseResponse', 'parseTrailers'] as const
type Kind = (typeof KINDS)[number]

function newHead(): Head {
  return new Head(MAX_HEAD_BYTES, MAX_HEADERS)
}

function linesOf(head: Head): string[] {
  return Array.from({ length: head.headerCount }, (_, i) => `${head.ids[i]} ${head.name(i)}: ${head.value(i)}`)
}

/** All that can be read from a parsed head. */
function meaningOf(kind: Kind, head: Head): string {
  const start =
    kind === 'parseRequest' ? [head.method, head.target] : kind === 'parseResponse' ? [head.status, head.reason] : []
  const { minor, contentLength, chunked, connectionClose, connectionKeepAlive, connectionUpgrade } = head
  const { hostIndex, upgradeIndex, traceparentIndex, expectContinue, teTrailers, length, text } = head
  return JSON.stringify([
    ...start,
    { minor, contentLength, chunked, connectionClose, connectionKeepAlive, connectionUpgrade },
    { hostIndex, upgradeIndex, traceparentIndex, expectContinue, teTrailers, length, text },
    linesOf(head),
  ])
}

const used = newHead()

function checkKind(kind: Kind, input: Buffer): string {
  const head = newHead()
  const result = head[kind](input, 0, input.length)
  rule(
    used[kind](input, 0, input.length) === result && used.problem === head.problem,
    () => `${kind}: a reader used before says ${used.problem}, a new one ${head.problem}`,
  )
  if (result === PARSE_DONE) {
    rule(meaningOf(kind, used) === meaningOf(kind, head), () => `${kind}: a reader used before reads something else`)
    rule(head.length <= input.length && head.length <= MAX_HEAD_BYTES, () => `${kind}: longer than it may be`)
  }
  const shifted = Buffer.concat([Buffer.from('xx'), input, Buffer.from('\r\n\r\nyy')])
  rule(used[kind](shifted, 2, 2 + input.length) === result, () => `${kind}: depends on what is around its bytes`)
  for (const cut of cutsOf(input.length)) {
    const early = used[kind](input, 0, cut)
    const where = () =>
      `${kind}: ${NAMES[early]} (${used.problem}) after ${cut} bytes, ${NAMES[result]} (${head.problem}) in the end`
    if (early === PARSE_BAD) rule(result === PARSE_BAD && used.tooLarge === head.tooLarge, where)
    if (early === PARSE_DONE) rule(result === PARSE_DONE && meaningOf(kind, used) === meaningOf(kind, head), where)
    if (early === PARSE_MORE && result === PARSE_DONE) rule(cut < head.length, where)
  }
  if (kind === 'parseRequest' && result === PARSE_DONE) checkRendered(head)
  return `${kind} ${NAMES[result]} ${head.problem}${result === PARSE_DONE ? [...new Set(head.ids.slice(0, head.headerCount).sort())].join() : ''}`
}

/** What the proxy sends for a request is one head, says the same, and loses nothing when it passes a second time. */
function checkRendered(head: Head): void {
  const host = head.hostIndex < 0 || head.value(head.hostIndex) === '' ? 'web' : undefined
  const rendering = { target: head.target, host, extra: '', edits: [], upgrade: false, dropTrace: false }
  const text = renderRequest(head, rendering)
  const bytes = Buffer.from(text, 'latin1')
  const again = new Head(8 * MAX_HEAD_BYTES, 2 * MAX_HEADERS)
  const result = again.parseRequest(bytes, 0, bytes.length)
  rule(result === PARSE_DONE, () => `what is rendered does not parse (${again.problem}): ${JSON.stringify(text)}`)
  rule(again.length === bytes.length, () => `something is left over after the rendered head: ${JSON.stringify(text)}`)
  const same =
    again.method === head.method &&
    again.target === head.target.replace(/^(https?:\/\/[^/?]*)(?=\?|$)/i, '$1/') &&
    again.chunked === head.chunked &&
    again.teTrailers === head.teTrailers &&
    again.contentLength === head.contentLength &&
    !(again.chunked && again.contentLength >= 0)
  rule(same, () => `rendered as another request: ${JSON.stringify(text)}`)
  const once = renderRequest(again, { ...rendering, host: undefined })
  rule(once === text, () => `rendered otherwise the second time: ${JSON.stringify([text, once])}`)
}

export const http1Head: FuzzTarget = {
  name: 'http1-head',
  dictionary: HTTP1_WORDS,
  maxBytes: 1400,
  run: (input) => KINDS.map((kind) => checkKind(kind, input)).join('|'),
}
