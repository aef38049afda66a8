/** What is left out of what taps show. */
import fc from 'fast-check'
import t from 'tap'
import { shownAuthority, shownFields, shownPath } from '../../../src/proxy/tap-text.ts'

const REDACTED = '[redacted]'
const shown = (fields: readonly string[], redact: readonly string[] = [], showQueries = false) =>
  JSON.parse(shownFields(fields, redact, showQueries).json)

t.test('a path is shown without its query, unless that is wanted', async (t) => {
  t.equal(shownPath('/a/b', '', false), '/a/b')
  t.equal(shownPath('/a', 'user=7', false), '/a?…')
  t.equal(shownPath('/a', 'user=7', true), '/a?user=7')
  t.equal(shownPath('/a#access_token=x', '', false), '/a#…')
  t.equal(shownPath('/a;jsessionid=x/b;v=1;Token=y', 'q', true), `/a;jsessionid=${REDACTED}/b;v=1;Token=${REDACTED}?q`)
})

t.test('an authority is shown without a user', async (t) => {
  t.equal(shownAuthority('shop:80'), 'shop:80')
  t.equal(shownAuthority('me:secret@shop:80'), `${REDACTED}@shop:80`)
})

t.test('fields that hold secrets show their names only, whatever the case or the underscores', async (t) => {
  const names = [
    ...[
      'Authorization',
      'proxy-authorization',
      'COOKIE',
      'set-cookie',
      'x-api-key',
      'X_API_KEY',
      'x-amz-security-token',
    ],
    ...['x-vault-token', 'x-csrf-token', 'sec-websocket-protocol', 'x-hub-signature-256', 'my-password', 'dpop'],
  ]
  for (const name of names) t.same(shown([name, 'abc']), { [name.toLowerCase()]: REDACTED }, name)
  t.same(shown(['cookie', 'a=1', 'cookie', 'b=2']), { cookie: REDACTED }, 'crumbs do not add up')
  t.same(shown(['X_Tenant', 'abc', 'x-user', 'me'], ['x-tenant']), { x_tenant: REDACTED, 'x-user': 'me' })
  t.same(shown(['accept', 'text/html', 'accept', '*/*']), { accept: 'text/html, */*' })
})

t.test('credentials and queries are left out of the values of other fields', async (t) => {
  t.same(shown(['x-carried', 'bearer abc']), { 'x-carried': REDACTED })
  t.same(shown(['x-carried', 'as eyJhbGciOi.eyJzdWIiOi.c2ln']), { 'x-carried': REDACTED })
  t.same(shown(['location', 'https://me:pw@shop/cb?code=1#t=2']), { location: `https://${REDACTED}@shop/cb?…` })
  t.same(shown(['location', 'https://me:pw@shop/cb?code=1'], [], true), {
    location: `https://${REDACTED}@shop/cb?code=1`,
  })
  t.same(shown(['referer', '/cb#access_token=1']), { referer: '/cb#…' })
  t.same(shown(['host', 'me:pw@shop:80']), { host: `${REDACTED}@shop:80` })
})

t.test('what only the mesh may say is not shown, nor more than there is room for', async (t) => {
  t.same(shown(['x-weir-refusal', 'RBAC', 'X_Forwarded_Client_Cert', 'forged', 'x-a', '1']), { 'x-a': '1' })
  t.same(shown(['x-long', 'a'.repeat(5000)])['x-long'].length, 1025)
  const many = Array.from({ length: 200 }, (_, i) => [`x-${i}`, 'v']).flat()
  const { json, cut } = shownFields(many, [], false)
  t.ok(cut)
  t.equal(Object.keys(JSON.parse(json)).length, 64)
  const large = Array.from({ length: 60 }, (_, i) => [`x-${i}`, 'v'.repeat(1000)]).flat()
  t.ok(shownFields(large, [], false).json.length < 16_384)
  t.ok(shownFields(large, [], false).cut)
})

t.test('property: a secret appears nowhere, whatever stands around it', async (t) => {
  const SECRET = 'Zq7SECRETzQ'
  const token = fc.stringMatching(/^[A-Za-z0-9-]{1,12}$/)
  const secretName = fc
    .tuple(
      fc.constantFrom('authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'x-api-key', 'x-mine'),
      fc.func(fc.boolean()),
    )
    .map(([name, upper]) => Array.from(name, (char, i) => (upper(i) ? char.toUpperCase() : char)).join(''))
  const around = fc.string({ unit: 'binary', maxLength: 20 })
  const secretValue = fc.tuple(around, around).map(([before, after]) => before + SECRET + after)
  const url = fc
    .tuple(token, token, around)
    .map(([host, path, before]) => `https://${host}/${path}?${before.replaceAll(' ', '')}${SECRET}`)
  const field = fc.oneof(
    fc.tuple(secretName, secretValue),
    fc.tuple(fc.constantFrom('location', 'referer', 'x-original-url', 'link'), url),
    fc.tuple(
      fc.constantFrom('x-a', 'x-b'),
      secretValue.map((value) => `Bearer ${value}`),
    ),
    fc.tuple(
      token.map((name) => `x-${name}`.toLowerCase()),
      around,
    ),
  )
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.array(field, { maxLength: 20 }), token, secretValue, (fields, path, query) => {
        const { json } = shownFields(fields.flat(), ['x-mine'], false)
        const told = `${json}${shownPath(`/${path}`, query, false)}${shownAuthority(`${query}@${path}`)}`
        return !told.includes(SECRET) && typeof JSON.parse(json) === 'object'
      }),
      { numRuns: 200 },
    ),
  )
})

t.test('secrets in odd places are not shown either', async (t) => {
  const value = (name: string, sent: string) => shownFields([name, sent], [], false).json
  for (const [name, sent] of [
    ['x-note', 'Token s3cret'],
    ['x-note', '"Bearer s3cret"'],
    ['x-note', 'a=b; access_token=s3cret'],
    ['referer', 'https://web/cart;jsessionid=s3cret'],
    ['x-note', `x ${'-'.repeat(500)}eyJhbGciOiJI.s3cret.s3cret`],
    ...['x-pass', 'x-pwd', 'x-otp', 'x-api-keys', 'x-hub-sig', 'x-sid', 'ssl-client-cert'].map((one) => [
      one,
      's3cret',
    ]),
  ] as [string, string][]) {
    t.notMatch(value(name, sent), /s3cret/, `${name}: ${sent}`)
  }
  for (const path of ['/a%3Bjsessionid=s3cret', '/a;token%3Ds3cret/b', '/reset/eyJhbGciOi.eyJzdWIi.s3cret/now']) {
    t.notMatch(shownPath(path, '', false), /s3cret/, path)
  }
  for (const harmless of ['max-age=60, public', 'text/html;q=0.9', 'gzip', 'v1.eyJ.x']) {
    t.match(value('x-note', harmless), harmless)
  }
})

t.test('what a stranger sends costs no more than its length, whatever it looks like', async (t) => {
  // Where it is tried anew from each place, a megabyte takes minutes; the limit of the test tells.
  const long = 1 << 20
  for (const unit of ['eyJ-', 'eyJ.', '//', '//@', ';', ';a', '%3b', 'a=', 'key', 'a']) {
    const text = unit.repeat(long / unit.length)
    t.ok(shownFields(['x', text], [], false).json.length <= 1100, unit)
    t.ok(shownFields([text, 'x'], [], false).cut, unit)
    t.ok(shownPath(`/${text}`, '', false).startsWith('/'), unit)
  }
})
