/** W3C Trace Context (w3.org/TR/trace-context): begun where a request has none. */
import { randomFillSync } from 'node:crypto'

const HEX: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))
const pool = new Uint8Array(24 * 128)
let used = pool.length

/** A new `traceparent`, not sampled: nobody has asked for spans. */
export function newTraceparent(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  let out = '00-'
  for (let i = 0; i < 16; i++) out += HEX[pool[used + i] as number]
  out += '-'
  for (let i = 16; i < 24; i++) out += HEX[pool[used + i] as number]
  used += 24
  return `${out}-00`
}

/** Trace id of a traceparent; empty when it is malformed. */
export function traceIdOf(traceparent: string): string {
  return traceparent.length >= 55 && traceparent.charCodeAt(2) === 45 ? traceparent.slice(3, 35) : ''
}
