/** Prometheus' text format, read strictly. */

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** Reads the text format strictly: every sample belongs to the family announced above it. */
export function parsePrometheus(text: string): Sample[] {
  const samples: Sample[] = []
  let family = ''
  let type = ''
  for (const line of text.trimEnd().split('\n')) {
    const head = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line)
    if (head?.[1] === 'TYPE') [family, type] = [head[2] ?? '', head[3] ?? '']
    if (head !== null) continue
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (sample === null) throw new Error(`Not a sample: ${line}`)
    const [, name = '', inside = '', value = ''] = sample
    const known = type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => family + end) : [family]
    if (!known.includes(name)) throw new Error(`${name} is not of the ${type} ${family}`)
    const labels = Object.fromEntries([...inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)",?/g)].map((m) => [m[1], m[2]]))
    samples.push({ name, labels, value: Number(value) })
  }
  return samples
}
