/** Whether live requests and connections can be looked at, and what of them is never shown. */
import { matching, ON_OR_OFF, type Subject } from './flag.ts'

/** Live requests and connections. */
export interface TapSettings {
  readonly enabled: boolean
  /** Header fields of which no value is told, besides those of which none ever is; in lower case, with dashes. */
  readonly redact: readonly string[]
  readonly showQueries: boolean
}

export const TAP: Subject<{ readonly tap: TapSettings }> = {
  flags: {
    tap: {
      value: 'on|off',
      says: 'whether live requests and connections can be looked at (weir tap)',
      default: 'on',
      wrong: ON_OR_OFF,
    },
    'tap-redact': {
      value: 'NAME[,NAME]',
      says: 'header fields of which it shows no value, besides authorization, cookies and others that sound like secrets, of which it never does',
      wrong: matching(/^[\w!#$%&'*+.^`|~-]+(,[\w!#$%&'*+.^`|~-]+)*$/, 'names of header fields, separated by commas'),
    },
    'tap-query': {
      value: 'hide|show',
      says: 'whether it shows query strings',
      default: 'hide',
      wrong: matching(/^(hide|show)$/, 'hide or show'),
    },
  },
  read(given) {
    const redact = given.text('tap-redact').split(',')
    return {
      tap: {
        enabled: given.text('tap') === 'on',
        redact: redact.filter((name) => name !== '').map((name) => name.toLowerCase().replaceAll('_', '-')),
        showQueries: given.text('tap-query') === 'show',
      },
    }
  },
}
