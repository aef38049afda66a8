import t from 'tap'
import { parse } from 'yaml'
import { parseObject, renderFault } from '#resources'

/** Problems of a TrafficPolicy with this `versioning`, without what they all begin and end with. */
function problemsOf(versioning: string): readonly string[] {
  const text = `{ apiVersion: weir.dev/v1alpha1, kind: TrafficPolicy, metadata: { name: p, namespace: shop }, spec: { targetRefs: [{ kind: Service, name: web }], versioning: ${versioning} } }`
  const outcome = parseObject(parse(text))
  if (outcome.kind !== 'object') throw new Error(`${versioning}: ${outcome.kind}`)
  return outcome.problems.map((problem) =>
    renderFault(problem).replace('spec.versioning', '').replace('; until it is mended it does not apply', ''),
  )
}

const of = (version: string): readonly string[] => problemsOf(`{ versions: [{ name: "1", ${version} }] }`)

t.test('versions are told apart by path, header or media type', async (t) => {
  t.same(of('match: [{ pathPrefix: /v1 }, { header: { name: api-version, value: "1" } }]'), [])
  t.same(of('match: [{ mediaType: application/vnd.shop.v1+json }, { mediaType: application/json;version=1 }]'), [])
  t.same(problemsOf('{ default: "1", versions: [{ name: "1" }] }'), [])
  const cases: [string, string][] = [
    ['{ versions: [] }', '.versions: is an empty list: fill it or remove the field'],
    ['{ versions: [{ name: "1" }] }', '.versions[0].match: is missing: only the default version can go without'],
    [
      '{ default: "2", versions: [{ name: "1", match: [{ pathPrefix: /v1 }] }] }',
      '.default: there is no version 2: name one of 1',
    ],
    [
      '{ default: "1", versions: [{ name: "1" }, { name: "1", match: [{ pathPrefix: /v1 }] }] }',
      '.versions[1].name: version 1 is there already: names tell versions apart',
    ],
    [
      '{ versions: [{ name: "1", match: [{ pathPrefix: /v1 }] }, { name: "2", match: [{ pathPrefix: /v1/ }] }] }',
      '.versions[1].match[0]: tells of version 1 already: remove one',
    ],
    [
      '{ versions: [{ name: "a b", match: [{ pathPrefix: /v1 }] }] }',
      '.versions[0].name: expected 1 to 63 letters, digits, -, . and _, got "a b"',
    ],
    ['{ default: "1", unknown: Deny, versions: [{ name: "1" }] }', '.unknown: expected Pass or Refuse, got "Deny"'],
    [
      '{ default: "1", maxBodyBytes: 99999999, versions: [{ name: "1" }] }',
      '.maxBodyBytes: expected 1024 to 16777216, got 99999999',
    ],
  ]
  for (const [text, expected] of cases) t.same(problemsOf(text), [expected], text)
  const matches: [string, string][] = [
    ['{}', ': needs exactly one of pathPrefix, header and mediaType'],
    ['{ pathPrefix: v1 }', '.pathPrefix: expected a path such as /v1, got "v1"'],
    ['{ pathPrefix: /a/../v1 }', '.pathPrefix: expected a path such as /v1, got "/a/../v1"'],
    ['{ header: { name: "a b", value: "1" } }', '.header.name: expected a header name (RFC 9110 token), got "a b"'],
    ['{ header: { name: accept, value: "1" } }', '.header.name: say mediaType instead of header accept'],
    [
      '{ header: { name: x-weir-v, value: "1" } }',
      ".header.name: header x-weir-v is the mesh's own: clients cannot send it",
    ],
    ['{ header: { name: a, value: " 1" } }', '.header.value: begins or ends with a space, which no header value does'],
    [
      '{ mediaType: json }',
      '.mediaType: expected a media type such as application/vnd.shop.v1+json or application/json; version=1, got "json"',
    ],
    [
      '{ mediaType: application/* }',
      '.mediaType: a range such as application/* tells of no version: name one media type',
    ],
    ['{ mediaType: application/json;q=1 }', '.mediaType: q is a weight, not a part of a media type: remove it'],
  ]
  for (const [text, expected] of matches) t.same(of(`match: [${text}]`), [`.versions[0].match[0]${expected}`], text)
})

t.test('translations are bounded, and told with their exact field', async (t) => {
  const whole = of(`match: [{ pathPrefix: /v1 }],
    deprecation: { since: 2026-01-01T00:00:00Z, sunset: 2027-01-01T00:00:00Z, link: "https://a.b/c" },
    request: { paths: [{ prefix: /v1, to: / }], query: { remove: [a] }, headers: { remove: [x] }, body: [{ remove: /a/*/b }] },
    response: { body: [{ move: { from: /a/*/b, to: /a/*/c/d } }, { set: { path: "/", value: { a: [1, null, 1.5] } } }] }`)
  t.same(whole, [])
  const many = Array.from({ length: 65 }, (_, i) => `{ remove: /a${i} }`).join(', ')
  const cases: [string, string][] = [
    ['request: {}', 'request: is empty: fill it or remove the field'],
    ['response: { headers: {} }', 'response.headers: is empty: fill it or remove the field'],
    ['deprecation: {}', 'deprecation: is empty: fill it or remove the field'],
    [
      'deprecation: { since: 2026-01-02T00:00:00Z, sunset: 2026-01-01T00:00:00Z }',
      'deprecation.sunset: 2026-01-01T00:00:00Z is before since (2026-01-02T00:00:00Z): it may not be',
    ],
    [
      'deprecation: { since: "2026-01-02" }',
      'deprecation.since: expected a time such as 2026-12-31T00:00:00Z, got "2026-01-02"',
    ],
    ['deprecation: { link: "https://a>b" }', 'deprecation.link: expected an http or https URL, got "https://a>b"'],
    [
      'request: { paths: [{ prefix: /a, to: /b }, { prefix: /a/, to: /c }] }',
      'request.paths[1].prefix: /a/ is there already: remove one',
    ],
    [
      'request: { headers: { set: [{ name: content-length, value: "1" }] } }',
      'request.headers.set[0].name: header content-length cannot be translated',
    ],
    [
      'request: { headers: { rename: [{ from: a, to: x-weir-a }] } }',
      'request.headers.rename[0].to: header x-weir-a cannot be translated',
    ],
    [
      'request: { headers: { set: [{ name: a, value: "b\\r\\nc: d" }] } }',
      'request.headers.set[0].value: contains a control character or one beyond Latin-1, which no header value can carry',
    ],
    ['request: { body: [{}] }', 'request.body[0]: needs exactly one of rename, move, remove, default and set'],
    ['request: { body: [{ remove: a }] }', 'request.body[0].remove: a JSON Pointer begins with /, got "a"'],
    [
      'request: { body: [{ remove: "" }] }',
      'request.body[0].remove: is empty: it would be the whole document, which no rule changes',
    ],
    [
      'request: { body: [{ remove: /a~b }] }',
      'request.body[0].remove: ~ is written ~0 in a JSON Pointer (and / as ~1), got "/a~b"',
    ],
    [
      `request: { body: [{ remove: ${'/a'.repeat(17)} }] }`,
      'request.body[0].remove: has 17 parts, at most 16 are allowed',
    ],
    [
      'request: { body: [{ rename: { path: /a/*, to: b } }] }',
      'request.body[0].rename.path: ends in *: name a member of the elements',
    ],
    [
      'request: { body: [{ move: { from: /a/*/b, to: /c/*/b } }] }',
      'request.body[0].move.to: must be the same as from up to the last *: an element keeps what it has',
    ],
    [
      'request: { body: [{ move: { from: /a, to: /a/b } }] }',
      'request.body[0].move.to: is from, or within it: nothing can move into itself',
    ],
    [
      'request: { body: [{ set: { path: /a, value: 12345678901234567890 } }] }',
      'request.body[0].set.value: holds the number 12345678901234567000, which cannot be written exactly: give a string, or a smaller number',
    ],
    [
      `request: { body: [{ set: { path: /a, value: ${'['.repeat(20)}${']'.repeat(20)} } }] }`,
      'request.body[0].set.value: is nested deeper than 16',
    ],
    [
      `request: { body: [{ set: { path: /a, value: ${'x'.repeat(5000)} } }] }`,
      'request.body[0].set.value: is longer than 4096 characters as JSON',
    ],
    [`request: { body: [${many}] }`, 'request.body: has 65 items, at most 64 are allowed'],
  ]
  for (const [text, expected] of cases)
    t.same(of(`match: [{ pathPrefix: /v1 }], ${text}`), [`.versions[0].${expected}`], text.slice(0, 80))
})
