import t from 'tap'
import { HeldBodies } from '../../../src/proxy/held-bodies.ts'
import { HeldBytes } from '../../../src/proxy/held-body.ts'
import { compileRule } from '../../../src/translation/body-rules.ts'

const rules = [compileRule({ type: 'Default', path: ['b'], value: '2' })]
const body = Buffer.from('{"a":1}')

t.test('the request is held until it is whole, then the answer, and both count until they have left', async (t) => {
  const room = new HeldBytes(10_000)
  const bodies = new HeldBodies(room)
  t.equal(bodies.holdRequest(1000, -1), undefined)
  t.ok(bodies.holdsRequest)
  t.equal(bodies.requestData(body, 0, 4), undefined)
  t.equal(bodies.requestData(body, 4, body.length), undefined)
  t.equal(String(bodies.translateRequest(rules)), '{"a":1,"b":2}')
  t.notOk(bodies.holdsRequest)
  t.equal(bodies.holdAnswer(1000, body.length, rules, [':status', '200']), undefined)
  t.ok(bodies.holdsAnswer)
  t.equal(bodies.answerData(body, 0, body.length), undefined)
  const answer = bodies.translateAnswer()
  t.match(answer, { fields: [':status', '200', 'content-length', '13'] })
  t.equal(typeof answer === 'object' && 'bytes' in answer && String(answer.bytes), '{"a":1,"b":2}')
  t.notOk(bodies.holdsAnswer)
  bodies.drop()
  t.ok(room.used > 0)
  bodies.release()
  bodies.release()
  t.equal(room.used, 0)
})

t.test('what cannot be held, or translated, is said, and takes no room once it is dropped', async (t) => {
  const room = new HeldBytes(10_000)
  const bodies = new HeldBodies(room)
  t.equal(bodies.holdRequest(4, 5), 'too-large')
  bodies.drop()
  t.equal(bodies.holdAnswer(4, -1, rules, []), undefined)
  t.equal(bodies.answerData(body, 0, body.length), 'too-large')
  bodies.dropAnswer()
  t.notOk(bodies.holdsAnswer)
  bodies.holdAnswer(1000, -1, rules, [])
  bodies.answerData(Buffer.from('{"a"'), 0, 4)
  t.hasProp(bodies.translateAnswer(), 'malformed')
  bodies.release()
  t.equal(room.used, 0)
})
