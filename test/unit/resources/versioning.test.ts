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
