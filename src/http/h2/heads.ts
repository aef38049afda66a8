/** A header block that has come whole: a request, a response head or trailers, or a reason to refuse it. */
import { H2_ENHANCE_YOUR_CALM, H2_NO_ERROR, H2_PROTOCOL_ERROR, H2_REFUSED_STREAM, H2_STREAM_CLOSED } from './errors.ts'
import { type MessageFacts, requestProblem, responseProblem, trailersProblem } from './header-rules.ts'
import type { Http2Session } from './session.ts'
import { H2Stream } from './stream.ts'

/** Filled anew for every head. */
const facts: MessageFacts = { contentLength: -1, tunnel: false, status: 0 }
const TOO_LARGE = [':status', '431', 'content-length', '0']

/** The stream that took the headers, trailers left in its `trailersIn`; undefined: they came to nothing. */
export function acceptHeaders(
  session: Http2Session,
  id: number,
  headers: readonly string[],
  endStream: boolean,
  tooLarge: boolean,
): H2Stream | undefined {
  const stream = session.streams.get(id)
  if (stream === undefined) {
    if (session.role === 'server' && id > session.streams.lastPeerStream) {
      return acceptRequest(session, id, headers, endStream, tooLarge)
    }
    // The block was decoded for the sake of the table; what crossed our reset is not an error.
    if (session.streams.wasReset(id)) {
      if (endStream) session.streams.resetSeen(id)
    } else if (session.streams.isIdle(id) || session.role === 'server') {
      session.fail(H2_PROTOCOL_ERROR, 'HEADERS with a stream identifier out of order')
    } else session.fail(H2_STREAM_CLOSED, 'HEADERS on a closed stream')
    return undefined
  }
  if (stream.remoteEnded) {
    session.streams.error(stream, H2_STREAM_CLOSED)
    return undefined
  }
  if (tooLarge) {
    session.streams.error(stream, H2_ENHANCE_YOUR_CALM)
    return undefined
  }
  return stream.headersReceived
    ? acceptTrailers(session, stream, headers, endStream)
    : acceptResponse(session, stream, headers, endStream)
}

function acceptRequest(
  session: Http2Session,
  id: number,
  headers: readonly string[],
  endStream: boolean,
  tooLarge: boolean,
): H2Stream | undefined {
  if ((id & 1) === 0) {
    session.fail(H2_PROTOCOL_ERROR, 'even stream identifier from a client')
    return undefined
  }
  session.streams.lastPeerStream = id
  // Beyond the last stream our GOAWAY named: the client knows that nobody looks at it.
  if (session.refusing) {
    session.streams.rememberReset(id, endStream)
    return undefined
  }
  if (tooLarge) {
    session.outbound.headerBlock(id, TOO_LARGE, true)
    if (!endStream) session.streams.refuse(id, H2_NO_ERROR, endStream)
    return undefined
  }
  facts.contentLength = -1
  let problem = requestProblem(headers, facts)
  if (endStream && !facts.tunnel && facts.contentLength > 0) problem ||= 'content-length without content'
  if (problem !== '') {
    session.streams.refuse(id, H2_PROTOCOL_ERROR, endStream)
    session.onMalformed(problem)
    return undefined
  }
  if (session.streams.full) {
    session.streams.refuse(id, H2_REFUSED_STREAM, endStream)
    return undefined
  }
  const stream = new H2Stream(session, id, facts.tunnel, false)
  if (!facts.tunnel) stream.contentLeft = facts.contentLength
  session.streams.add(stream)
  session.onStream(stream, headers, endStream)
  return stream
}

function acceptResponse(
  session: Http2Session,
  stream: H2Stream,
  headers: readonly string[],
  endStream: boolean,
): H2Stream | undefined {
  facts.contentLength = -1
  const malformed = responseProblem(headers, facts) !== ''
  const interim = facts.status < 200
  if (malformed || (interim && endStream)) {
    session.streams.error(stream, H2_PROTOCOL_ERROR)
    return undefined
  }
  if (!interim) {
    stream.headersReceived = true
    const successful = facts.status < 300
    if (stream.bodiless || facts.status === 204 || facts.status === 304) stream.contentLeft = 0
    else if (!(stream.tunnel && successful)) stream.contentLeft = facts.contentLength
    if (endStream && stream.contentLeft > 0) {
      session.streams.error(stream, H2_PROTOCOL_ERROR)
      return undefined
    }
  }
  stream.owner.onHeaders?.(headers, endStream)
  return stream
}

function acceptTrailers(
  session: Http2Session,
  stream: H2Stream,
  headers: readonly string[],
  endStream: boolean,
): H2Stream | undefined {
  if (!endStream || trailersProblem(headers) !== '') {
    session.streams.error(stream, H2_PROTOCOL_ERROR)
    return undefined
  }
  stream.trailersIn = headers
  return stream
}
