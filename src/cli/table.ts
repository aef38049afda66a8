/** Aligned columns for people; what comes from the cluster is shown without control characters. */

/** Columns are as wide as their widest cell; the last one is not padded. Ends with a line feed. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows].map((row) => row.map(printable))
  const widths = head.map((_, column) => Math.max(...lines.map((row) => (row[column] ?? '').length)))
  const render = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd()
  return lines.map((row) => `${render(row)}\n`).join('')
}

/** Without the characters that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
}

export function renderBytes(bytes: number): string {
  return bytes <= 0 ? '-' : `${(bytes / (1 << 20)).toFixed(0)} MiB`
}

/** `12 s`, `5 min`, `3 h`, `2 d`: one unit, rounded down. */
export function renderAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`
}

/** `in 11 h`, `5 min ago`. What is to come is rounded: a certificate of 24 h, just made, ends in 24 h. */
export function renderEnd(leftMs: number): string {
  if (leftMs <= 0) return `${renderAge(-leftMs)} ago`
  const unit = leftMs < 120_000 ? 1000 : leftMs < 7_200_000 ? 60_000 : leftMs < 172_800_000 ? 3_600_000 : 86_400_000
  return `in ${renderAge(Math.round(leftMs / unit) * unit)}`
}
