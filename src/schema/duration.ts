/** Durations as the Gateway API writes them (GEP-2257): `1h30m`, `500ms`, never a bare number, fraction or sign. */

const DURATION = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/
const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 }

/** Milliseconds, or undefined when the text is no such duration. `0s` is 0, by which the API means no limit. */
export function parseDurationMs(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined
  let total = 0
  for (const [, count = '0', unit = 'ms'] of text.matchAll(/([0-9]+)(ms|h|m|s)/g)) {
    total += Number(count) * (UNIT_MS[unit] ?? 0)
  }
  return total
}

/** A check for durations from `leastMs` to `mostMs`, which are `words` (`100ms to 1h`). */
export function durationWithin(leastMs: number, mostMs: number, words: string): (text: string) => string | undefined {
  return (text) => {
    const ms = parseDurationMs(text)
    if (ms === undefined) return checkDuration(text)
    return ms >= leastMs && ms <= mostMs ? undefined : `expected a time from ${words}, got ${text}`
  }
}

export function checkDuration(text: string): string | undefined {
  if (parseDurationMs(text) !== undefined) return undefined
  return `expected a duration such as 500ms, 10s or 1m30s, got ${JSON.stringify(text)}`
}
