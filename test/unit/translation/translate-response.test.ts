import t from 'tap'
import type { ApiVersion } from '#contract'
import { type TranslatedResponse, translateResponse } from '#translation'
import { versionOf } from './versions.ts'

const body = [{ type: 'Remove', path: ['a'] }] as const
const errorBody = [{ type: 'Remove', path: ['b'] }] as const
const version = versionOf({
  request: { prefixes: [{ from: '/v1', to: '/v2' }], body: [] },
  response: { body, errorBody },
})
const answer = (status: number, headers: Record<string, string> = {}, of = version): TranslatedResponse =>
  translateResponse(of, 'web.shop', { status, header: (name) => headers[name] })
const JSON_TYPE = { 'content-type': 'application/json' }

t.test('rules go by the status, and only with JSON', async (t) => {
  t.same(answer(200, JSON_TYPE).rules, version.responseBody)
  t.same(answer(404, JSON_TYPE).rules, version.errorBody)
  t.same(answer(500, { 'content-type': 'application/problem+json' }).rules, version.errorBody)
  t.same(answer(302, JSON_TYPE).rules, [])
  t.same(answer(200, { 'content-type': 'text/html' }).rules, [])
  t.equal(answer(200, { 'content-type': 'text/html', 'content-encoding': 'gzip' }).problem, undefined)
})

t.test('what cannot be translated is a problem', async (t) => {
  t.equal(answer(200, { ...JSON_TYPE, 'content-encoding': 'br' }).problem, 'the answer is encoded')
  t.equal(answer(200, { 'content-type': 'application/json;charset=utf-16' }).problem, 'the answer is not in UTF-8')
  t.equal(answer(206, JSON_TYPE).problem, 'the answer is a part, which nobody asked for')
})

t.test('what is said of the bytes of a translated answer goes, and its tag gets weak', async (t) => {
  const headers = { ...JSON_TYPE, etag: '"x"', 'content-digest': 'd', 'accept-ranges': 'bytes', 'last-modified': 'm' }
  t.same(answer(200, headers).edit, {
    set: [{ name: 'etag', value: 'W/"x"' }],
    add: [],
    remove: ['content-digest', 'accept-ranges'],
  })
  t.same(answer(200, { ...JSON_TYPE, etag: 'W/"x"' }).edit.set, [])
  t.same(answer(304, { etag: '"x"' }).edit.set, [{ name: 'etag', value: 'W/"x"' }], 'also of one that has not changed')
  t.same(answer(200, { etag: '"x"', 'content-type': 'image/png' }).edit.set, [])
})

t.test('locations are those of the older version', async (t) => {
  t.same(answer(201, { ...JSON_TYPE, location: '/v2/items/1', 'content-location': 'http://web.shop/v2/x' }).edit.set, [
    { name: 'location', value: '/v1/items/1' },
    { name: 'content-location', value: 'http://web.shop/v1/x' },
  ])
  t.same(answer(302, { location: 'http://elsewhere/v2' }).edit.set, [])
})

t.test('a deprecation is told on every answer, also of a version that is not translated', async (t) => {
  const deprecation: ApiVersion['deprecation'] = {
    deprecation: '@1767225600',
    sunset: 'Fri, 01 Jan 2027 00:00:00 GMT',
    link: '<https://shop.example/v2>; rel="deprecation"',
  }
  const old = versionOf({ ...(deprecation && { deprecation }) })
  t.same(answer(404, { link: '</x>; rel="next"' }, old).edit, {
    set: [
      { name: 'deprecation', value: '@1767225600' },
      { name: 'sunset', value: 'Fri, 01 Jan 2027 00:00:00 GMT' },
      { name: 'link', value: '</x>; rel="next", <https://shop.example/v2>; rel="deprecation"' },
    ],
    add: [],
    remove: [],
  })
})
