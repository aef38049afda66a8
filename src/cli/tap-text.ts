/**
 * Live requests for people, a line each: when, from whom to whom, what, how it went, and why not if it did not. Columns are
 * as wide as what they have held so far.
 */
type TapEvent = Readonly<Record<string, unknown>>

export interface TapTextOptions {
  readonly isTerminal: boolean
  /** Identities, route, upstream and bytes, too. */
  readonly wide: boolean
}

const RESET = '\u001b[0m'
const DIM = '\u001b[2m'
const RED = '\u001b[31m'
const YELLOW = '\u001b[33m'
/** Beyond it a name is not waited for by the others. */
const MAX_COLUMN = 40

export class TapText {
  readonly #options: TapTextOptions
  #fromWidth = 0
  #toWidth = 0

  constructor(options: TapTextOptions) {
    this.#options = options
  }

  /** With its line feed; empty for what is not to be shown. */
  render(event: TapEvent): string {
    switch (event['kind']) {
      case 'request':
      case 'connection':
      case 'opened':
        return `${this.#line(event)}\n${headerLines(event)}`
      case 'live':
        return this.#options.isTerminal
          ? this.#paint(DIM, `Node ${text(event, 'node')}: requests and connections as they end; Ctrl-C ends this.\n`)
          : ''
      case 'lost':
        return this.#paint(YELLOW, `${lostWords(event)}\n`)
      default:
        return ''
    }
  }

  #line(event: TapEvent): string {
    const from = text(event, 'source') || text(event, 'sourceAddress') || 'unknown'
    const to = text(event, 'destination') || serviceOf(event) || text(event, 'upstream') || 'unknown'
    this.#fromWidth = Math.max(this.#fromWidth, Math.min(from.length, MAX_COLUMN))
    this.#toWidth = Math.max(this.#toWidth, Math.min(to.length, MAX_COLUMN))
    const flags = text(event, 'flags') || '-'
    const isBad = number(event, 'level') >= 40 || this.#hasFailed(event)
    const time = this.#paint(DIM, text(event, 'time').slice(11))
    const who = `${from.padEnd(this.#fromWidth)} -> ${to.padEnd(this.#toWidth)}`
    const took = event['kind'] === 'opened' ? '-' : `${durationText(number(event, 'durationMs'))} ${flags}`
    return `${time} ${who}  ${this.#what(event)} ${isBad ? this.#paint(RED, took) : took}${this.#more(event)}`
  }

  #hasFailed(event: TapEvent): boolean {
    const status = number(event, 'status')
    return event['kind'] === 'request' ? status >= 500 || status === 0 || number(event, 'grpcStatus') > 0 : false
  }

  #what(event: TapEvent): string {
    if (event['kind'] === 'opened') return 'connection opened'
    if (event['kind'] === 'connection') {
      return `connection ${bytesText(number(event, 'bytesIn'))} in ${bytesText(number(event, 'bytesOut'))} out`
    }
    const status = String(number(event, 'status'))
    const grpc = typeof event['grpcStatus'] === 'number' ? ` grpc ${event['grpcStatus']}` : ''
    const shown = `${status}${grpc}`
    return `${text(event, 'method') || '?'} ${text(event, 'path')} ${this.#hasFailed(event) ? this.#paint(RED, shown) : shown}`
  }

  #more(event: TapEvent): string {
    const named: [string, string][] = [
      ['policy', text(event, 'policy')],
      ['trace', text(event, 'traceId')],
      ['sni', text(event, 'sni')],
      ['mirror', event['mirror'] === true ? 'yes' : ''],
    ]
    if (this.#options.wide) {
      named.push(
        ['service', serviceOf(event)],
        ['route', text(event, 'route')],
        ['rule', text(event, 'rule')],
        ['upstream', text(event, 'upstream')],
        ['from-id', text(event, 'sourceIdentity')],
        ['to-id', text(event, 'destinationIdentity')],
        ['protocol', text(event, 'version') || text(event, 'protocol')],
        ['seen', text(event, 'direction')],
        ['request-id', text(event, 'requestId')],
      )
      if (event['kind'] === 'request') {
        named.push(['in', bytesText(number(event, 'bytesIn'))], ['out', bytesText(number(event, 'bytesOut'))])
      }
    }
    const said = named.flatMap(([name, value]) => (value === '' ? [] : [` ${this.#paint(DIM, `${name}=`)}${value}`]))
    const reason = text(event, 'reason')
    return `${said.join('')}${reason === '' ? '' : ` (${reason})`}`
  }

  #paint(colour: string, what: string): string {
    return this.#options.isTerminal ? `${colour}${what}${RESET}` : what
  }
}

/** `>` what was asked, `<` what was answered. */
function headerLines(event: TapEvent): string {
  const lines = (sign: string, fields: unknown) =>
    typeof fields === 'object' && fields !== null
      ? Object.entries(fields).map(([name, value]) => `    ${sign} ${printed(name)}: ${printed(String(value))}\n`)
      : []
  const cut = event['headersCut'] === true ? ['    … and more fields\n'] : []
  return [...lines('>', event['requestHeaders']), ...lines('<', event['responseHeaders']), ...cut].join('')
}

function lostWords(event: TapEvent): string {
  if (event['why'] === 'agent')
    return '… the agent has ended this and was asked again: what went on in between is missing'
  const count = `… ${number(event, 'events')} more`
  return event['why'] === 'rate'
    ? `${count} not shown: there are more a second than --rate allows; filter them, or raise it`
    : `${count} missing here: they came faster than they were read`
}

/** `NAMESPACE/NAME` of a Service of the cluster, else its host. */
function serviceOf(event: TapEvent): string {
  const host = text(event, 'destinationService')
  const [, name, namespace] = /^([^.]+)\.([^.]+)\.svc\./.exec(host) ?? []
  return name === undefined ? host : `${namespace}/${name}`
}

function durationText(ms: number): string {
  if (ms >= 60_000) return `${(ms / 60_000).toFixed(1)} min`
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)} s`
  return `${ms.toFixed(1)} ms`
}

function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`
}

function text(event: TapEvent, name: string): string {
  const value = event[name]
  return typeof value === 'string' ? printed(value) : ''
}

function number(event: TapEvent, name: string): number {
  const value = event[name]
  return typeof value === 'number' ? value : 0
}

/** What a stranger sent: nothing that a terminal obeys, nothing that begins a line of its own. */
function printed(value: string): string {
  return value.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?')
}
