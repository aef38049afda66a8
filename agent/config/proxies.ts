/** The proxy processes: how many, what they count and log. */
import { availableParallelism } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import { anyText, between, ON_OR_OFF, type Subject } from './flag.ts'

export interface ProxiesSettings {
  readonly proxies: number
  readonly accessLog: string
  /** Requests and connections are counted. */
  readonly metrics: boolean
  readonly proxyUid: number
}

export const PROXIES: Subject<ProxiesSettings> = {
  flags: {
    proxies: {
      value: 'N',
      says: 'proxy processes',
      default: String(Math.max(1, Math.floor(availableParallelism() / 2))),
      defaultSays: 'half the processors, at least 1',
      wrong: between(1, 64),
    },
    'access-log': { value: 'WHERE', says: 'stdout, off, or a file', default: 'stdout', wrong: anyText },
    metrics: { value: 'on|off', says: 'count requests and connections', default: 'on', wrong: ON_OR_OFF },
    'proxy-uid': {
      value: 'N',
      says: 'user and group that proxies run as',
      default: '1337',
      wrong: between(1, 999_999_999),
    },
  },
  read(given) {
    const accessLog = given.text('access-log')
    const isPlace = accessLog === 'stdout' || accessLog === 'off' || isAbsolute(accessLog)
    return {
      proxies: given.number('proxies'),
      accessLog: isPlace ? accessLog : resolve(accessLog),
      metrics: given.text('metrics') === 'on',
      proxyUid: given.number('proxy-uid'),
    }
  },
}
