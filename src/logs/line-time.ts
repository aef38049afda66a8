/** RFC 3339 times with nanoseconds and any offset, as container runtimes write them. */

/** Microseconds since the epoch; exact, since 2^53 of them last until the year 2255. NaN for what is no time. */
export function timeMicros(text: string): number {
  const dot = text.charCodeAt(19) === 46
  let zoneAt = 19
  let micros = 0
  if (dot) {
    let scale = 100_000
    for (zoneAt = 20; zoneAt < text.length; zoneAt++) {
      const digit = text.charCodeAt(zoneAt) - 48
      if (digit < 0 || digit > 9) break
      micros += digit * scale
      scale = scale > 1 ? scale / 10 : 0
    }
  }
  return secondsOf(text.slice(0, 19), text.slice(zoneAt)) * 1e6 + micros
}

let lastSecond = ''
let lastZone = ''
let lastSeconds = Number.NaN

/** Lines come many to a second, so the last is kept. */
function secondsOf(second: string, zone: string): number {
  if (second !== lastSecond || zone !== lastZone) {
    lastSecond = second
    lastZone = zone
    lastSeconds = SECOND.test(second) && ZONE.test(zone) ? Date.parse(`${second}${zone}`) / 1000 : Number.NaN
  }
  return lastSeconds
}

const SECOND = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/
const ZONE = /^(Z|[+-]\d\d:\d\d)$/
