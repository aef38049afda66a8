/**
 * An edge is one way that traffic takes (source workload → Service → destination workload). It holds the metric
 * handles of that way, so that counting a request costs one small lookup and a few additions: no label is touched,
 * nothing is allocated. The proxy asks for an edge once per connection or routing decision, and keeps it. Measured
 * (Node 26.10, 2 shared cores): 31 to 38 ns CPU per `record` that reports both sides.
 */
import type { ResponseFlag } from '#contract'
import type { EdgeDescription, IstioFamilies, Reporters } from './istio-metrics.ts'
import { edgeLabels, ISTIO_BUCKETS, REPORT_DESTINATION, REPORT_SOURCE } from './istio-metrics.ts'
import type { HistogramHandle, ValueHandle } from './metrics.ts'
import { bucketOf } from './metrics.ts'

/** Outcomes (status and flag) that one edge may name; further ones count under `response_code="other"`. */
export const MAX_OUTCOMES_PER_EDGE = 64

interface ReporterHandles {
  readonly requests: ValueHandle
  readonly durations: HistogramHandle
  readonly requestBytes: HistogramHandle
  readonly responseBytes: HistogramHandle
}

interface MessageHandles {
  readonly requests: ValueHandle
  readonly responses: ValueHandle
}

class Outcome {
  readonly status: string
  readonly grpcStatus: string
  readonly flag: ResponseFlag
  source: ReporterHandles | undefined = undefined
  destination: ReporterHandles | undefined = undefined

  constructor(status: string, grpcStatus: string, flag: ResponseFlag) {
    this.status = status
    this.grpcStatus = grpcStatus
    this.flag = flag
  }
}

export class RequestEdge {
  readonly #families: IstioFamilies
  readonly #description: EdgeDescription
  readonly #outcomes = new Map<ResponseFlag, Map<number, Outcome>>()
  #count = 0
  #lastKey = -1
  #lastFlag: ResponseFlag = '-'
  #last: Outcome | undefined = undefined
  readonly #messages: Partial<Record<'source' | 'destination', MessageHandles>> = {}

  constructor(families: IstioFamilies, description: EdgeDescription) {
    this.#families = families
    this.#description = description
  }

  /** Durations in milliseconds, sizes in body bytes. `status` 0 when no answer was sent at all, `grpcStatus` -1 when none came. */
  record(
    status: number,
    flag: ResponseFlag,
    durationMs: number,
    requestBytes: number,
    responseBytes: number,
    reporters: Reporters,
    grpcStatus = -1,
  ): void {
    let outcome = this.#last
    const key = status + (grpcStatus + 1) * GRPC_KEYS
    if (outcome === undefined || key !== this.#lastKey || flag !== this.#lastFlag) {
      outcome = this.#outcome(key, flag, status, grpcStatus)
    }
    const duration = bucketOf(ISTIO_BUCKETS, durationMs)
    const request = bucketOf(ISTIO_BUCKETS, requestBytes)
    const response = bucketOf(ISTIO_BUCKETS, responseBytes)
    if ((reporters & REPORT_SOURCE) !== 0) {
      const source = outcome.source ?? this.#resolve(outcome, 'source')
      source.requests.value++
      source.durations.observeAt(duration, durationMs)
      source.requestBytes.observeAt(request, requestBytes)
      source.responseBytes.observeAt(response, responseBytes)
    }
    if ((reporters & REPORT_DESTINATION) !== 0) {
      const destination = outcome.destination ?? this.#resolve(outcome, 'destination')
      destination.requests.value++
      destination.durations.observeAt(duration, durationMs)
      destination.requestBytes.observeAt(request, requestBytes)
      destination.responseBytes.observeAt(response, responseBytes)
    }
  }

  /** Of one gRPC call. */
  messages(requests: number, responses: number, reporters: Reporters): void {
    if ((reporters & REPORT_SOURCE) !== 0) this.#addMessages('source', requests, responses)
    if ((reporters & REPORT_DESTINATION) !== 0) this.#addMessages('destination', requests, responses)
  }

  #addMessages(reporter: 'source' | 'destination', requests: number, responses: number): void {
    let handles = this.#messages[reporter]
    if (handles === undefined) {
      const { response_flags: _, ...labels } = edgeLabels(this.#description, reporter, '-')
      const families = this.#families
      handles = {
        requests: families.requestMessages.handle(labels),
        responses: families.responseMessages.handle(labels),
      }
      this.#messages[reporter] = handles
    }
    handles.requests.value += requests
    handles.responses.value += responses
  }

  #outcome(key: number, flag: ResponseFlag, status: number, grpcStatus: number): Outcome {
    let byStatus = this.#outcomes.get(flag)
    if (byStatus === undefined) {
      byStatus = new Map()
      this.#outcomes.set(flag, byStatus)
    }
    let outcome = byStatus.get(key)
    if (outcome === undefined && this.#count >= MAX_OUTCOMES_PER_EDGE) outcome = byStatus.get(OTHER_STATUS)
    if (outcome === undefined) {
      const full = this.#count >= MAX_OUTCOMES_PER_EDGE
      const grpc = grpcStatus < 0 || full ? '' : String(grpcStatus)
      outcome = new Outcome(full ? 'other' : String(status), grpc, flag)
      byStatus.set(full ? OTHER_STATUS : key, outcome)
      if (!full) this.#count++
    }
    this.#lastKey = key
    this.#lastFlag = flag
    this.#last = outcome
    return outcome
  }

  #resolve(outcome: Outcome, reporter: 'source' | 'destination'): ReporterHandles {
    const labels = {
      ...edgeLabels(this.#description, reporter, outcome.flag),
      response_code: outcome.status,
      grpc_response_status: outcome.grpcStatus,
    }
    const families = this.#families
    const handles: ReporterHandles = {
      requests: families.requests.handle(labels),
      durations: families.durations.handle(labels),
      requestBytes: families.requestBytes.handle(labels),
      responseBytes: families.responseBytes.handle(labels),
    }
    outcome[reporter] = handles
    return handles
  }
}

/** Key of the outcome that stands for all the others; no HTTP status is negative. */
const OTHER_STATUS = -1
/** Statuses of HTTP are below it. */
const GRPC_KEYS = 1000

interface TcpHandles {
  readonly opened: ValueHandle
  readonly sent: ValueHandle
  readonly received: ValueHandle
}

/** Opaque TCP connections of one way. Sent is towards the client, received is from it, as Istio counts. */
export class TcpEdge {
  readonly #families: IstioFamilies
  readonly #description: EdgeDescription
  readonly #flagged = new Map<string, ValueHandle>()
  #source: TcpHandles | undefined = undefined
  #destination: TcpHandles | undefined = undefined

  constructor(families: IstioFamilies, description: EdgeDescription) {
    this.#families = families
    this.#description = description
  }

  opened(reporters: Reporters): void {
    if ((reporters & REPORT_SOURCE) !== 0) this.#sourceHandles().opened.value++
    if ((reporters & REPORT_DESTINATION) !== 0) this.#destinationHandles().opened.value++
  }

  sent(bytes: number, reporters: Reporters): void {
    if ((reporters & REPORT_SOURCE) !== 0) this.#sourceHandles().sent.value += bytes
    if ((reporters & REPORT_DESTINATION) !== 0) this.#destinationHandles().sent.value += bytes
  }

  received(bytes: number, reporters: Reporters): void {
    if ((reporters & REPORT_SOURCE) !== 0) this.#sourceHandles().received.value += bytes
    if ((reporters & REPORT_DESTINATION) !== 0) this.#destinationHandles().received.value += bytes
  }

  /** Once per connection, at its end; a refused connection is opened and closed with its flag. */
  closed(flag: ResponseFlag, reporters: Reporters): void {
    if ((reporters & REPORT_SOURCE) !== 0) this.#closedHandle('source', flag).value++
    if ((reporters & REPORT_DESTINATION) !== 0) this.#closedHandle('destination', flag).value++
  }

  #closedHandle(reporter: 'source' | 'destination', flag: ResponseFlag): ValueHandle {
    const key = reporter + flag
    let handle = this.#flagged.get(key)
    if (handle === undefined) {
      handle = this.#families.tcpClosed.handle(edgeLabels(this.#description, reporter, flag))
      this.#flagged.set(key, handle)
    }
    return handle
  }

  #sourceHandles(): TcpHandles {
    this.#source ??= this.#resolve('source')
    return this.#source
  }

  #destinationHandles(): TcpHandles {
    this.#destination ??= this.#resolve('destination')
    return this.#destination
  }

  #resolve(reporter: 'source' | 'destination'): TcpHandles {
    const labels = edgeLabels(this.#description, reporter, '-')
    return {
      opened: this.#families.tcpOpened.handle(labels),
      sent: this.#families.tcpSent.handle(labels),
      received: this.#families.tcpReceived.handle(labels),
    }
  }
}
