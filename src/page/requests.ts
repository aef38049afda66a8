/** Requests and connections as they end, from `/tap`. */
import type { View } from './data.ts'
import { h } from './element.ts'
import { clockText } from './format.ts'
import { hashOf, type Place } from './place.ts'
import { numberIn, type StreamRecord, textIn } from './stream.ts'
import { openStreamView, quoted } from './stream-view.ts'

const FIELDS = [
  { name: 'end', label: 'Of', hint: 'a pod or Service' },
  { name: 'path', label: 'Path begins', hint: '/cart' },
  { name: 'status', label: 'Status', hint: '5xx, 403' },
  { name: 'min-duration', label: 'At least', hint: '250ms' },
] as const

export function openRequests({ node, parameters }: Place): View {
  const { element, close } = openStreamView({
    label: 'Requests',
    node,
    fields: FIELDS.map((field) => ({ ...field, value: parameters.get(field.name) ?? '' })),
    pathOf: (values) => {
      const query = new URLSearchParams([...values].filter(([, value]) => value !== '')).toString()
      return query === '' ? '/tap' : `/tap?${query}`
    },
    commandOf: (values) => {
      const words = [...values].filter(([, value]) => value !== '')
      const flags = words.map(([name, value]) => (name === 'end' ? quoted(value) : `--${name} ${quoted(value)}`))
      return ['weir tap', ...flags].join(' ')
    },
    lineOf: (record) => {
      const isRequest = record['kind'] === 'request' || record['kind'] === 'connection'
      if (isRequest) return renderRequest(record, node)
      return record['kind'] === 'lost' ? renderLost(record) : undefined
    },
  })
  return { title: 'Requests', needs: [], element, close }
}

export function renderLost(record: StreamRecord): HTMLElement {
  const count = textIn(record, 'lines') || textIn(record, 'events')
  const why =
    record['why'] === 'rate'
      ? 'more are not shown: there are more a second than a reader is told; filter them'
      : 'are missing here: they came faster than they were read'
  return h('li', { class: 'lost' }, `… ${count} ${why}`)
}

/** Also between the lines of logs. */
export function renderRequest(record: StreamRecord, node: string): HTMLElement {
  const text = (name: string) => textIn(record, name)
  const from = text('source') || text('sourceAddress') || '?'
  const to = text('destination') || text('destinationService') || text('upstream') || '?'
  const isRequest = record['kind'] === 'request'
  const status = numberIn(record, 'status')
  const isBad = isRequest && (status >= 500 || status === 0 || numberIn(record, 'level') >= 40)
  const flags = text('flags') === '-' ? '' : text('flags')
  const trace = text('traceId')
  const what = isRequest
    ? `${text('method')} ${text('path')}`
    : `connection, ${numberIn(record, 'bytesIn')} bytes in, ${numberIn(record, 'bytesOut')} out`
  return h(
    'li',
    { class: isBad ? 'request bad' : 'request' },
    h('time', {}, clockText(text('time'))),
    ' ',
    h('span', { class: 'who' }, `${from} → ${to}`),
    ' ',
    h('span', { class: 'what' }, what),
    ' ',
    ...(isRequest ? [h('strong', {}, String(status)), ' '] : []),
    h('span', { class: 'dim' }, `${numberIn(record, 'durationMs')} ms`),
    ...(flags === '' ? [] : [' ', h('span', { class: 'flags' }, flags)]),
    ...(text('policy') === '' ? [] : [' ', h('span', {}, `by ${text('policy')}`)]),
    ...(trace === '' ? [] : [' ', h('a', { href: hashOf(['logs'], node, { trace }) }, 'logs of its trace')]),
  )
}
