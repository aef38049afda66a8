/** What pods write, from `/logs`, with the requests between the lines where one wants them. */
import type { View } from './data.ts'
import { h } from './element.ts'
import { clockText } from './format.ts'
import type { Place } from './place.ts'
import { renderLost, renderRequest } from './requests.ts'
import { type StreamRecord, textIn } from './stream.ts'
import { type Field, openStreamView, quoted } from './stream-view.ts'

export function openLogs({ node, parameters }: Place): View {
  const given = (name: string) => parameters.get(name) ?? ''
  const fields: readonly Field[] = [
    { name: 'pod', label: 'Pod', value: given('pod'), hint: 'all' },
    { name: 'grep', label: 'Lines with', value: given('grep'), hint: 'error|timeout' },
    { name: 'trace', label: 'Trace or request', value: given('trace') },
    {
      name: 'since',
      label: 'Since',
      value: given('since'),
      choices: [
        ['', 'the last lines'],
        ['5m', '5 minutes ago'],
        ['1h', 'an hour ago'],
      ],
    },
    {
      name: 'requests',
      label: 'Requests between them',
      value: given('requests'),
      choices: [
        ['', 'no'],
        ['true', 'yes'],
      ],
    },
  ]
  const { element, close } = openStreamView({
    label: 'Logs',
    node,
    fields,
    pathOf: (values) => {
      const query = new URLSearchParams({ follow: 'true' })
      for (const [name, value] of values) if (value !== '') query.set(name, value)
      if (!query.has('pod') && !query.has('trace')) query.set('all', 'true')
      return `/logs?${query.toString()}`
    },
    commandOf,
    lineOf: (record) => renderRecord(record, node),
  })
  return { title: 'Logs', needs: [], element, close }
}

function commandOf(values: ReadonlyMap<string, string>): string {
  const [pod, trace] = [values.get('pod') ?? '', values.get('trace') ?? '']
  const words = ['weir logs', pod === '' && trace === '' ? '--all' : quoted(pod)]
  for (const name of ['grep', 'trace', 'since']) {
    const value = values.get(name) ?? ''
    if (value !== '') words.push(`--${name} ${quoted(value)}`)
  }
  if (values.get('requests') === 'true') words.push('--requests')
  return [...words.filter((word) => word !== ''), '-f'].join(' ')
}

function renderRecord(record: StreamRecord, node: string): HTMLElement | undefined {
  const text = (name: string) => textIn(record, name)
  switch (record['kind']) {
    case 'line': {
      const isError = text('stream') === 'stderr'
      const gone = record['gone'] === true ? ' (gone)' : ''
      return h(
        'li',
        { class: isError ? 'line error' : 'line' },
        h('time', {}, clockText(text('time'))),
        ' ',
        h('span', { class: 'who' }, `${text('namespace')}/${text('pod')} ${text('container')}${gone}`),
        isError ? ' ! ' : ' | ',
        h('span', { class: 'what' }, text('message')),
      )
    }
    case 'request':
    case 'connection':
      return renderRequest(record, node)
    case 'lost':
      return renderLost(record)
    default:
      return undefined
  }
}
