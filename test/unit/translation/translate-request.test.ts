import fc from 'fast-check'
import t from 'tap'
import type { ApiVersion, HeaderTranslation, RequestTranslation } from '#contract'
import { bodyOfRequest, TranslatedRequest } from '#translation'
import { restoreLocation, restorePath, translatePath, translateQuery } from '../../../src/translation/target.ts'
import { facts, versionOf } from './versions.ts'

const NO_HEADERS: HeaderTranslation = { rename: [], set: [], replace: [], remove: [] }
const request = (how: Partial<RequestTranslation>): Partial<ApiVersion> => ({
  request: { prefixes: [], body: [], ...how },
})
const rule = { type: 'Remove', path: ['a'] } as const

t.test('the longest prefix of a path is replaced, by whole elements', async (t) => {
  const prefixes = [
    { from: '/v1/users', to: '/v2/accounts' },
    { from: '/v1', to: '/v2' },
  ]
  t.equal(translatePath(prefixes, '/v1/users/7'), '/v2/accounts/7')
  t.equal(translatePath(prefixes, '/v1/usersx'), '/v2/usersx')
  t.equal(translatePath(prefixes, '/v1'), '/v2')
  t.equal(translatePath(prefixes, '/v10'), '/v10')
  t.equal(translatePath(prefixes, '/v1/a%2Fb/../c'), '/v2/a%2Fb/../c', 'the rest stays as it was sent')
  t.equal(translatePath([{ from: '/v1', to: '' }], '/v1'), '/')
  t.equal(translatePath([{ from: '', to: '/v2' }], '/x'), '/v2/x')
  t.equal(translatePath(prefixes, '*'), '*')
  t.equal(restorePath(prefixes, '/v2/accounts/7'), '/v1/users/7')
  t.equal(restorePath(prefixes, '/v3'), undefined)
})

t.test('a path goes there and back', async (t) => {
  const prefixes = [{ from: '/old', to: '/new' }]
  const property = fc.property(
    fc.webPath(),
    (path) => restorePath(prefixes, translatePath(prefixes, `/old${path}`)) === `/old${path}`,
  )
  t.doesNotThrow(() => fc.assert(property))
})

t.test('a location of the same authority is told in the paths of the older version', async (t) => {
  const prefixes = [{ from: '/v1', to: '/v2' }]
  const restored = (text: string) => restoreLocation(prefixes, text, 'web.shop:80')
  t.equal(restored('/v2/items/7?x=/v2#y'), '/v1/items/7?x=/v2#y')
  t.equal(restored('http://WEB.shop:80/v2/a'), 'http://WEB.shop:80/v1/a')
  t.equal(restored('http://web.shop:80'), 'http://web.shop:80')
  for (const other of ['http://other/v2/a', '//other/v2/a', 'v2/a', '../v2', '/v20', '?x', ''])
    t.equal(restored(other), other)
})

t.test('parameters are renamed, removed and given where they are missing; others stay as they were sent', async (t) => {
  const how = {
    rename: [{ from: 'q', to: 'query' }],
    remove: ['debug'],
    default: [
      { name: 'limit', value: '20' },
      { name: 'sort by', value: 'a&b' },
    ],
  }
  t.equal(translateQuery(how, 'q=a+b%20c&x=%7E&q&debug=1&limit=5'), 'query=a+b%20c&x=%7E&query&limit=5&sort%20by=a%26b')
  t.equal(translateQuery(how, ''), 'limit=20&sort%20by=a%26b')
  t.equal(
    translateQuery(how, '%71=1&limit&sort+by=&sort%20by=x'),
    'query=1&limit&sort+by=&sort%20by=x',
    'names are compared unescaped',
  )
  t.equal(translateQuery(how, '%=1&limit=&sort%20by='), '%=1&limit=&sort%20by=')
  t.equal(translateQuery({ rename: [], remove: [], default: [] }, '&&a=&b'), '&&a=&b')
})

t.test('a translated request has the target and the fields of the newest version', async (t) => {
  const version = versionOf(
    request({
      prefixes: [{ from: '/v1/', to: '/v2/' }],
      query: { rename: [{ from: 'q', to: 'query' }], remove: [], default: [] },
      headers: {
        rename: [
          { from: 'x-user', to: 'X-Account' },
          { from: 'x-none', to: 'x-any' },
        ],
        set: [{ name: 'api-version', value: '2' }],
        replace: [
          { name: 'Content-Type', value: 'application/vnd.shop.v2+json' },
          { name: 'x-absent', value: '1' },
        ],
        remove: ['x-old', 'x-gone'],
      },
    }),
  )
  const headers = { 'x-user': 'ann', 'content-type': 'application/json', 'x-old': '1', 'x-kept': '2' }
  const translated = new TranslatedRequest(version, facts('/v1/items?q=1', headers, 'POST'))
  t.equal(translated.target, '/v2/items?query=1')
  t.same(translated.edit(), {
    set: [
      { name: 'X-Account', value: 'ann' },
      { name: 'api-version', value: '2' },
      { name: 'Content-Type', value: 'application/vnd.shop.v2+json' },
    ],
    add: [],
    remove: ['x-user', 'x-old'],
  })
  const seen = ['x-user', 'x-account', 'x-any', 'api-version', 'content-type', 'x-old', 'x-kept', 'x-absent']
  t.same(
    seen.map((name) => translated.header(name)),
    [undefined, 'ann', undefined, '2', 'application/vnd.shop.v2+json', undefined, '2', undefined],
    'and policy sees the same',
  )
})

t.test('fields trade their names', async (t) => {
  const rename = [
    { from: 'a', to: 't' },
    { from: 'b', to: 'a' },
    { from: 't', to: 'b' },
  ]
  const version = versionOf(request({ headers: { ...NO_HEADERS, rename } }))
  const translated = new TranslatedRequest(version, facts('/', { a: '1', b: '2' }))
  t.same(
    ['a', 'b', 't'].map((name) => translated.header(name)),
    ['2', '1', undefined],
  )
})

t.test('digests of a body that changes go; those of any other stay', async (t) => {
  const version = versionOf(request({ body: [rule] }))
  const digest = { 'content-digest': 'sha-256=:x:', 'repr-digest': 'y', digest: 'z', 'content-md5': 'w' }
  const json = new TranslatedRequest(version, facts('/', { ...digest, 'content-type': 'application/json' }))
  t.same([...json.edit().remove].sort(), ['content-digest', 'content-md5', 'digest', 'repr-digest'])
  const text = new TranslatedRequest(version, facts('/', { ...digest, 'content-type': 'text/plain' }))
  t.same(text.edit(), { set: [], add: [], remove: [] })
})

t.test('who gets a translated answer asks for a whole one, and its weak tags mean the strong ones', async (t) => {
  const version = versionOf({ response: { body: [rule], errorBody: [] } })
  const headers = {
    'accept-encoding': 'gzip',
    range: 'bytes=0-1',
    'if-range': '"a"',
    'if-match': 'W/"a", "b", W/"W/c"',
  }
  const translated = new TranslatedRequest(version, facts('/', headers))
  t.same(translated.edit(), {
    set: [
      { name: 'accept-encoding', value: 'identity' },
      { name: 'if-match', value: '"a", "b", "W/c"' },
    ],
    add: [],
    remove: ['range', 'if-range'],
  })
})

t.test('a body is translated when it is JSON in UTF-8 that is not encoded', async (t) => {
  const version = versionOf(request({ body: [rule] }))
  const kind = (type?: string, coding?: string) =>
    bodyOfRequest(
      version,
      facts('/', { ...(type && { 'content-type': type }), ...(coding && { 'content-encoding': coding }) }),
    )
  t.equal(kind('application/json'), 'json')
  t.equal(kind('Application/JSON; Charset="UTF-8"', 'identity'), 'json')
  t.equal(kind('application/vnd.shop.v1+json'), 'json')
  t.equal(kind('application/json', 'gzip'), 'encoded')
  t.equal(kind('application/json; charset=iso-8859-1'), 'charset')
  for (const type of [
    'text/plain',
    'application/x-ndjson',
    'application/json-seq',
    'application/grpc',
    'nonsense',
    undefined,
  ])
    t.equal(kind(type, 'gzip'), 'other', String(type))
  t.equal(bodyOfRequest(versionOf({}), facts('/', { 'content-type': 'application/json' })), 'other', 'no rules')
})
