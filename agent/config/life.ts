/** How the agent begins and ends, and what it says meanwhile. */
import { LOG_LEVELS, type LogLevel } from '../log.ts'
import type { Subject } from './flag.ts'

export interface LifeSettings {
  readonly keepRules: boolean
  /** Where another agent runs on the state directory: take over from it, instead of ending. */
  readonly takeOver: boolean
  readonly logLevel: LogLevel
}

export const LIFE: Subject<LifeSettings> = {
  flags: {
    'keep-rules': { says: 'leave the rules in place on exit, for an upgrade' },
    'take-over': {
      says: 'if another agent runs with the same state directory: wait beside it, ready, and go on with its pods, sockets included, when it is told to end',
    },
    'log-level': {
      value: 'LEVEL',
      says: LOG_LEVELS.join(', '),
      default: 'info',
      wrong: (value) =>
        levelOf(value) === undefined
          ? `expected one of ${LOG_LEVELS.join(', ')}, got ${JSON.stringify(value)}`
          : undefined,
    },
  },
  read: (given) => ({
    keepRules: given.has('keep-rules'),
    takeOver: given.has('take-over'),
    logLevel: levelOf(given.text('log-level')) ?? 'info',
  }),
}

function levelOf(value: string): LogLevel | undefined {
  return LOG_LEVELS.find((level) => level === value)
}
