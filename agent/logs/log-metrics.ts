/** What became of the lines of the node's pods, as metrics. */
import type { MetricFamily } from '#contract'
import type { LogsStatus } from '#logs'

const SINK_COUNTERS = {
  weir_log_lines_sent_total: ['sent', 'Lines of pods that were shipped.'],
  weir_log_lines_lost_total: ['lost', 'Lines of pods that were given up, since they were not taken.'],
  weir_log_lines_malformed_total: [
    'malformed',
    "Lines that are not of the container runtime's format, shipped as they are.",
  ],
  weir_log_files_missed_total: ['missed', 'Log files that vanished or were truncated before all of them was read.'],
} as const

/** None without a log thread. */
export function logFamilies(status: LogsStatus | undefined): readonly MetricFamily[] {
  if (status === undefined) return []
  const one = (name: string, help: string, type: 'counter' | 'gauge', value: number): MetricFamily => ({
    name,
    help,
    type,
    series: [{ labels: {}, values: [value] }],
  })
  return [
    one('weir_log_containers', 'Containers whose logs are looked at.', 'gauge', status.containers),
    one('weir_log_containers_left_out', 'Containers beyond the bound.', 'gauge', status.leftOut),
    one('weir_log_readers', 'Readers of logs that are connected.', 'gauge', status.readers),
    one(
      'weir_log_reader_lost_lines_total',
      'Lines that slow readers were told they lost.',
      'counter',
      status.readerLostLines,
    ),
    ...Object.entries(SINK_COUNTERS).map(
      ([name, [member, help]]): MetricFamily => ({
        name,
        help,
        type: 'counter',
        series: status.sinks.map((sink) => ({ labels: { sink: sink.name }, values: [sink[member]] })),
      }),
    ),
  ]
}
