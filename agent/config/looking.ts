/** How the agent looks for what is wrong, and when it raises an alarm. */
import { anyText, between, pathOf, type Subject } from './flag.ts'

export interface LookingSettings {
  /** From one look at the node to the next. */
  readonly lookMs: number
  /** Rules of alerts; undefined: none. */
  readonly alertsFile: string | undefined
}

export const LOOKING: Subject<LookingSettings> = {
  flags: {
    'look-ms': {
      value: 'N',
      says: 'how often weir diagnose looks for what is wrong',
      default: '10000',
      wrong: between(100, 600_000),
    },
    alerts: { value: 'FILE', says: 'rules of alerts (YAML, docs/alerts.md), followed live', wrong: anyText },
  },
  read: (given) => ({ lookMs: given.number('look-ms'), alertsFile: pathOf(given, 'alerts') }),
}
