/** Lines of logs for people: when, who, what. On a terminal with colours, and without what a terminal would obey. */

/** As the agent tells it: a line, a request or connection of the mesh, or how many lines are missing here. */
type LogRecord = Readonly<Record<string, unknown>>

const RESET = '\u001b[0m'
const DIM = '\u001b[2m'
const RED = '\u001b[31m'
const YELLOW = '\u001b[33m'
/** Told apart by their pods; no red or yellow. */
const POD_COLOURS = [
  '\u001b[36m',
  '\u001b[32m',
  '\u001b[35m',
  '\u001b[34m',
  '\u001b[96m',
  '\u001b[92m',
  '\u001b[95m',
  '\u001b[94m',
]

/** With its line feed. `|` stands before what went to standard output, `!` before standard error. */
export function renderLogRecord(record: LogRecord, isTerminal: boolean): string {
  const text = (name: string) => {
    const value = record[name]
    if (typeof value !== 'string') return ''
    return isTerminal ? withoutControls(value) : value
  }
  const paint = (colour: string, what: string) => (isTerminal ? `${colour}${what}${RESET}` : what)
  const time = paint(DIM, shortTime(text('time')))
  switch (record['kind']) {
    case 'line': {
      const pod = `${text('namespace')}/${text('pod')}`
      const who = paint(colourOf(pod), `${pod} ${text('container')}`)
      const isError = text('stream') === 'stderr'
      const gone = record['gone'] === true ? ' (gone)' : ''
      return `${time} ${who}${gone} ${isError ? paint(RED, '!') : '|'} ${text('message')}\n`
    }
    case 'request':
    case 'connection':
      return `${time} ${requestText(record, text, paint)}\n`
    case 'lost':
      return `${paint(YELLOW, `… ${String(record['lines'])} lines are missing here: they came faster than they were read`)}\n`
    default:
      return `${withoutControls(JSON.stringify(record))}\n`
  }
}

function requestText(
  record: LogRecord,
  text: (name: string) => string,
  paint: (colour: string, what: string) => string,
): string {
  const number = (name: string) => (typeof record[name] === 'number' ? record[name] : 0)
  const from = text('source') || text('sourceAddress') || '?'
  const to = text('destination') || text('destinationService') || text('upstream') || '?'
  const status = number('status')
  const isBad = status >= 500 || status === 0 || number('level') >= 40
  const what =
    record['kind'] === 'request'
      ? `${text('method')} ${text('path')} ${paint(isBad ? RED : DIM, String(status))}`
      : `connection, ${number('bytesIn')} bytes in, ${number('bytesOut')} out`
  const flags = text('flags') === '-' || text('flags') === '' ? '' : ` ${text('flags')}`
  const policy = text('policy') === '' ? '' : ` by ${text('policy')}`
  const trace = text('traceId') === '' ? '' : ` trace ${text('traceId')}`
  const id = text('requestId') === '' ? '' : ` request ${text('requestId')}`
  return `${from} > ${to} ${what}${flags}${policy} ${number('durationMs')} ms${trace}${id}`
}

/** To the millisecond, in the zone in which it was written. */
function shortTime(time: string): string {
  if (time === '') return '-'.padEnd(24)
  return time.replace(/(\.\d{1,3})\d*/, '$1')
}

/** Tabs stay. */
function withoutControls(text: string): string {
  return text.replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, '?')
}

function colourOf(pod: string): string {
  let sum = 0
  for (let i = 0; i < pod.length; i++) sum = (sum * 31 + pod.charCodeAt(i)) >>> 0
  return POD_COLOURS[sum % POD_COLOURS.length] ?? ''
}
