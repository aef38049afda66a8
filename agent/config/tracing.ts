/** Which requests are traced, and where their spans go. */
import type { TracingSettings as ProxyTracing } from '#contract'
import { collectorUrl, durationMs, matching, ON_OR_OFF, type Subject } from './flag.ts'

export interface TracingSettings {
  /** Undefined: nothing is traced. */
  readonly tracing:
    | {
        /** Of an OpenTelemetry collector, such as http://collector:4318/v1/traces. */
        readonly url: string
        readonly settings: ProxyTracing
      }
    | undefined
}

const SETTINGS = {
  'trace-sample': {
    value: 'SHARE',
    says: 'with --trace-otlp: share of the traces that begin here, 0 to 1; callers who begin one decide themselves',
    default: '0.01',
    wrong: matching(/^(0|1|0?\.\d{1,12}|1\.0{1,12})$/, 'a share from 0 to 1 such as 0.01'),
  },
  'trace-tail': {
    value: 'on|off',
    says: 'with --trace-otlp: send errors and slow requests of other traces, too',
    default: 'on',
    wrong: ON_OR_OFF,
  },
  'trace-slow': {
    value: 'DURATION',
    says: 'with --trace-otlp: what is slow, e.g. 250ms',
    default: '1s',
    wrong: (value: string) =>
      (durationMs(value) ?? 0) > 0
        ? undefined
        : `expected a duration such as 250ms or 2s, got ${JSON.stringify(value)}`,
  },
}

export const TRACING: Subject<TracingSettings> = {
  flags: {
    'trace-otlp': {
      value: 'URL',
      says: 'send spans of requests to an OpenTelemetry collector, as http://collector:4318/v1/traces',
      wrong: collectorUrl('/v1/traces'),
    },
    ...SETTINGS,
  },
  wrong: (given) =>
    given.has('trace-otlp')
      ? []
      : Object.keys(SETTINGS)
          .filter((name) => given.has(name))
          .map((name) => `--${name}: only with --trace-otlp.`),
  read(given) {
    if (!given.has('trace-otlp')) return { tracing: undefined }
    const settings: ProxyTracing = {
      sampleRatio: given.number('trace-sample'),
      tail: given.text('trace-tail') === 'off' ? 'off' : 'on',
      slowMs: durationMs(given.text('trace-slow')) ?? 0,
    }
    return { tracing: { url: given.text('trace-otlp'), settings } }
  },
}
