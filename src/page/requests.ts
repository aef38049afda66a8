/** Requests and connections as they end, from `/tap`. */
import type { View } from './data.ts'
import { h } from './element.ts'
import { clockText } from './format.ts'
import { hashOf, type Place } from './place.ts'
import { numberIn, type StreamRecord, textIn } from './stream.ts'
import { openStreamView } from './stream-view.ts'

export function openRequests({ node, parameters }: Place): View {
  const { element, close } = openStreamView({
    label: 'Requests',
    node,
    fields: [{ name: 'text', label: 'Only with', value: parameters.get('text') ?? '', hint: 'shop/web, /cart, 503' }],
    pathOf: () => '/tap',
    commandOf: () => 'weir tap',
    lineOf: (record, values) => {
      const wanted = values.get('text') ?? ''
      const isRequest = record['kind'] === 'request' || record['kind'] === 'connection'
      if (!isRequest) return record['kind'] === 'lost' ? renderLost(record) : undefined
      return wanted === '' || JSON.stringify(record).includes(wanted) ? renderRequest(record, node) : undefined
    },
  })
  return { title: 'Requests', needs: [], element, close }
}

export function renderLost(record: StreamRecord): HTMLElement {
  const count = textIn(record, 'lines') || textIn(record, 'events')
  return h('li', { class: 'lost' }, `… ${count} are missing here: they came faster than they were read`)
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
