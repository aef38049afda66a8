/** Which logs of pods are read, and where they are shipped. */
import { resolve } from 'node:path'
import { anyText, between, collectorUrl, duration, durationMs, matching, pathOf, type Subject } from './flag.ts'

/** The pods' logs. */
export interface LogsSettings {
  readonly logs: {
    readonly which: 'enrolled' | 'all' | 'off'
    readonly root: string
    /** Last lines of pods that are gone. */
    readonly keepMs: number
    readonly keepMib: number
    /** Undefined: not shipped to a file. */
    readonly file: string | undefined
    readonly fileMib: number
    readonly files: number
    /** Undefined: not shipped to a collector. */
    readonly otlpUrl: string | undefined
  }
}

const MAX_KEEP_MS = 720 * 3_600_000

export const LOGS: Subject<LogsSettings> = {
  flags: {
    logs: {
      value: 'WHICH',
      says: 'logs of which pods of the node can be read and are shipped: enrolled, all, or off',
      default: 'enrolled',
      wrong: matching(/^(enrolled|all|off)$/, 'enrolled, all or off'),
    },
    'log-root': { value: 'DIR', says: 'where the kubelet has them', default: '/var/log/pods', wrong: anyText },
    'log-keep': {
      value: 'DURATION',
      says: 'how long the last lines of pods that are gone are kept, up to 720h; 0s for not at all',
      default: '1h',
      wrong: duration(0, MAX_KEEP_MS, 'from 0s to 720h such as 1h'),
    },
    'log-keep-mib': {
      value: 'N',
      says: 'for all of them together, in the state directory',
      default: '16',
      wrong: between(0, 100_000),
    },
    'log-file': { value: 'FILE', says: 'append all lines to FILE as JSON; rotated by size', wrong: anyText },
    'log-file-mib': { value: 'N', says: 'size at which it is', default: '64', wrong: between(1, 100_000) },
    'log-files': { value: 'N', says: 'files in all: FILE, FILE.1, …', default: '5', wrong: between(1, 1000) },
    'log-otlp': {
      value: 'URL',
      says: 'send all lines to an OpenTelemetry collector, as http://collector:4318/v1/logs',
      wrong: collectorUrl('/v1/logs'),
    },
  },
  wrong: (given) =>
    ['log-file', 'log-otlp']
      .filter((name) => given.has(name) && given.text('logs') === 'off')
      .map((name) => `--${name}: not together with --logs off; keep one of them.`),
  read(given) {
    const which = given.text('logs')
    return {
      logs: {
        which: which === 'all' || which === 'off' ? which : 'enrolled',
        root: resolve(given.text('log-root')),
        keepMs: durationMs(given.text('log-keep')) ?? 0,
        keepMib: given.number('log-keep-mib'),
        file: pathOf(given, 'log-file'),
        fileMib: given.number('log-file-mib'),
        files: given.number('log-files'),
        otlpUrl: given.text('log-otlp') || undefined,
      },
    }
  },
}
