/** Numbers and times as texts, as the command line writes them. */
import type { Percentile, Rates } from '#observer'

export function rateText({ requests, requestsPerSecond }: Rates): string {
  return requests === 0 ? '-' : requestsPerSecond.toFixed(1)
}

export function shareText(share: number | undefined): string {
  return share === undefined ? '-' : `${(Math.floor(share * 10_000) / 100).toFixed(2)} %`
}

export function percentileText(value: Percentile | undefined): string {
  if (value === undefined) return '-'
  if (value.atMostMs === undefined) return `>${value.aboveMs} ms`
  return `~${value.estimateMs < 10 ? value.estimateMs.toFixed(1) : value.estimateMs.toFixed(0)} ms`
}

export function bytesText(bytes: number): string {
  if (bytes === 0) return '-'
  if (bytes < 1024) return bytes.toFixed(0)
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} Ki` : `${(bytes / (1 << 20)).toFixed(1)} Mi`
}

/** `4 min`; of a time to come it says nothing better than `0 s`. */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 90) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 90) return `${minutes} min`
  const hours = Math.round(minutes / 60)
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`
}

/** Hours, minutes, seconds of the reader's own clock. */
export function clockText(time: string | number): string {
  const date = new Date(time)
  return Number.isNaN(date.getTime()) ? '-' : date.toLocaleTimeString('en-GB')
}
