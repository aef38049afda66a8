/** What a proxy knows of an endpoint from its own requests: how many are there now, and how long answers take. */

export interface EndpointLoad {
  /** Requests (or connections) in progress, from all pods of this proxy. */
  active: number
  /** Peak-sensitive moving average until the head of the answer, as of `latencyAt`; negative before the first. */
  latencyMs: number
  latencyAt: number
  /** That came since somebody last took them, for whoever compares endpoints; failures are not among them. */
  answers: number
  /** Until the heads of those answers, together. */
  answersMs: number
  /** When it was first seen. Times are monotonic, ms. */
  readonly since: number
}

/** In which an old answer loses all but a third of its weight; Linkerd's. */
const DECAY_MS = 10_000
/** By failing quickly an endpoint seems that slow at most: about 40 s later it is as good as any. */
const FAILED_MAX_MS = 100
const FAILED_MIN_MS = 5

export function newEndpointLoad(now: number): EndpointLoad {
  return { active: 0, latencyMs: -1, latencyAt: now, answers: 0, answersMs: 0, since: now }
}

/** What is known grows old: an endpoint once slow is tried again. */
export function latencyNow(load: EndpointLoad, now: number): number {
  const known = load.latencyMs
  return known < 1 ? known : known * Math.exp((load.latencyAt - now) / DECAY_MS)
}

/** Peaks count at once, better times little by little. */
export function observeLatency(load: EndpointLoad, ms: number, now: number): void {
  load.answers++
  load.answersMs += ms
  const known = load.latencyMs
  if (known < 0 || ms >= known) load.latencyMs = ms
  else {
    const kept = Math.exp((load.latencyAt - now) / DECAY_MS)
    load.latencyMs = known * kept + ms * (1 - kept)
  }
  load.latencyAt = now
}

/** A failure is no quick answer: otherwise the endpoint that fails fastest would get the most requests. */
export function observeFailure(load: EndpointLoad, ms: number, now: number): void {
  const known = latencyNow(load, now)
  load.latencyMs = Math.max(ms, Math.min(Math.max(2 * known, FAILED_MIN_MS), Math.max(FAILED_MAX_MS, known)))
  load.latencyAt = now
}
