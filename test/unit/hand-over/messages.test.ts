import fc from 'fast-check'
import t from 'tap'
import { type HandOverMessage, parseMessage, renderMessage } from '../../../agent/hand-over/messages.ts'

const MESSAGES: readonly (readonly [HandOverMessage, number])[] = [
  [{ type: 'hello', version: 1, node: 'n1', pid: 7 }, 0],
  [{ type: 'welcome', version: 1, pid: 7 }, 0],
  [{ type: 'refused', why: 'no' }, 0],
  [{ type: 'ready' }, 0],
  [{ type: 'pod', uid: 'u', workload: 'shop/web', listeners: [] }, 1],
  [
    {
      type: 'pod',
      uid: '../"\n',
      workload: 'shop/web',
      listeners: [
        { direction: 'outbound', family: 4, port: 15001 },
        { direction: 'dns-udp', family: 6, port: 15053 },
      ],
    },
    3,
  ],
  [{ type: 'pods-sent', pods: 2 }, 0],
  [{ type: 'received', pods: 2 }, 0],
  [{ type: 'yours' }, 0],
  [{ type: 'taken' }, 0],
]

t.test('each message comes out as it went in, with as many descriptors as it needs and no others', (t) => {
  for (const [message, fds] of MESSAGES) {
    t.same(parseMessage(renderMessage(message), fds), message)
    t.equal(parseMessage(renderMessage(message), fds + 1), undefined)
    if (fds > 0) t.equal(parseMessage(renderMessage(message), fds - 1), undefined)
  }
  t.end()
})

t.test('what is not exactly a message is none', (t) => {
  const wrong = [
    '',
    '{',
    'null',
    '[]',
    '"ready"',
    '{}',
    '{"type":"bye"}',
    '{"type":"hello","version":"1","node":"n1","pid":7}',
    '{"type":"hello","version":1,"pid":7}',
    '{"type":"pods-sent","pods":-1}',
    '{"type":"pods-sent","pods":1.5}',
    '{"type":"pod","uid":"u","workload":"w","listeners":{}}',
    '{"type":"pod","uid":"u","workload":"w","listeners":[{"direction":"up","family":4,"port":1}]}',
    '{"type":"pod","uid":"u","workload":"w","listeners":[{"direction":"inbound","family":5,"port":1}]}',
    '{"type":"pod","uid":"u","workload":"w","listeners":[null]}',
  ]
  for (const text of wrong) for (const fds of [0, 1, 2]) t.equal(parseMessage(Buffer.from(text), fds), undefined, text)
  t.end()
})

t.test('any bytes are a message or none', (t) => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), fc.json().map(Buffer.from)), fc.nat(12), (bytes, fds) => {
      const message = parseMessage(Buffer.from(bytes), fds)
      return message === undefined || fds === 0 || message.type === 'pod'
    }),
  )
  t.end()
})
