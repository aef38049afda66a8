import fc from 'fast-check'
import t from 'tap'
import type { ApiVersion, VersionMatch } from '#contract'
import { recogniseVersion } from '#translation'
import { facts, planOf } from './versions.ts'

const media = (text: string): VersionMatch => {
  const [mediaType = '', ...rest] = text.split(';')
  const parameters = rest.map((part) => ({ name: part.split('=')[0] ?? '', value: part.split('=')[1] ?? '' }))
  return { type: 'MediaType', mediaType, parameters }
}
const version = (name: string, prefix: string): ApiVersion => ({
  name,
  matches: [
    { type: 'PathPrefix', value: prefix },
    { type: 'Header', name: 'api-version', value: name },
    media(`application/vnd.shop.v${name}+json`),
    media(`application/json;version=${name}`),
  ],
})
const plan = planOf([version('3', '/v3'), version('2', '/v2/'), version('1', '/v1')])

const said = (target: string, headers: Record<string, string> = {}, of = plan): string => {
  const found = recogniseVersion(of, facts(target, headers))
  return `${found.version?.name ?? '-'} ${found.kind}: ${found.by}`
}

t.test('a path tells of a version by whole elements, the longest prefix first', async (t) => {
  t.equal(said('/v1/items?x=/v2'), '1 declared: path prefix /v1')
  t.equal(said('/v1'), '1 declared: path prefix /v1')
  t.equal(said('/v2/items'), '2 declared: path prefix /v2')
  t.equal(said('/v2'), '2 declared: path prefix /v2')
  t.equal(said('/v10/items'), '- none: it names no version')
  t.equal(said('/V1/items'), '- none: it names no version')
  const nested = planOf([
    { name: 'old', matches: [{ type: 'PathPrefix', value: '/' }] },
    { name: 'new', matches: [{ type: 'PathPrefix', value: '/beta' }] },
  ])
  t.equal(said('/beta/x', {}, nested), 'new declared: path prefix /beta')
  t.equal(said('/x', {}, nested), 'old declared: path prefix /')
})

t.test('a header tells of a version, after the path', async (t) => {
  t.equal(said('/items', { 'api-version': ' 2 ' }), '2 declared: header api-version: 2')
  t.equal(said('/v1/items', { 'api-version': '2' }), '1 declared: path prefix /v1')
  t.equal(said('/items', { 'api-version': '' }), '- none: it names no version')
})

t.test('a media type tells of a version: of the body first, then of what is accepted', async (t) => {
  t.equal(
    said('/', { 'content-type': 'Application/Vnd.Shop.V2+JSON; charset=utf-8' }),
    '2 declared: content-type: application/vnd.shop.v2+json',
  )
  t.equal(
    said('/', { 'content-type': 'application/json; charset="utf-8"; Version="1"' }),
    '1 declared: content-type: application/json',
  )
  t.equal(
    said('/', { 'content-type': 'application/json', accept: 'application/vnd.shop.v1+json' }),
    '1 declared: accept: application/vnd.shop.v1+json',
  )
  t.equal(
    said('/', { accept: 'text/html, application/vnd.shop.v1+json;q=0.5, application/json;version=2;q=0.8, */*;q=0.9' }),
    '2 declared: accept: application/json',
  )
  t.equal(
    said('/', { accept: 'application/vnd.shop.v1+json, application/vnd.shop.v2+json' }),
    '2 declared: accept: application/vnd.shop.v2+json',
    'of equal weight the one declared first',
  )
  t.equal(said('/', { accept: 'application/vnd.shop.v1+json;q=0' }), '- none: it names no version', 'is not accepted')
  t.equal(said('/', { accept: 'application/json;x="a,application/vnd.shop.v1+json"' }), '- none: it names no version')
  t.equal(said('/', { accept: '*/*' }), '- none: it names no version')
})

t.test('parameters that say more count before fewer', async (t) => {
  const plan = planOf([
    { name: 'plain', matches: [media('application/json')] },
    { name: '2', matches: [media('application/json;version=2')] },
  ])
  t.equal(said('/', { accept: 'application/json;version=2' }, plan), '2 declared: accept: application/json')
  t.equal(said('/', { accept: 'application/json' }, plan), 'plain declared: accept: application/json')
})

t.test('a version that is not declared is not taken for the default', async (t) => {
  const plan = planOf([version('2', '/v2'), version('1', '/v1')], { default: '1' })
  t.equal(said('/', {}, plan), '1 default: it names no version')
  t.equal(said('/', { 'api-version': '9' }, plan), '- unknown: header api-version: 9')
  t.equal(said('/', { accept: 'application/json; version=9' }, plan), '- unknown: accept: application/json; version=9')
  t.equal(
    said('/', { 'content-type': 'application/json;version=9' }, plan),
    '- unknown: content-type: application/json; version=9',
  )
  t.equal(
    said('/', { 'api-version': '9', accept: 'application/vnd.shop.v2+json' }, plan),
    '2 declared: accept: application/vnd.shop.v2+json',
    'what names a declared one counts',
  )
})

t.test('no header makes it throw, and one version is always told the same way', async (t) => {
  const header = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[ap/*;,="\\ q.01v+json-]{0,40}$/),
    fc.constantFrom('application/json', 'application/json;version=2;q=0.1'),
  )
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(header, header, header, (accept, contentType, named) => {
        const headers = { accept, 'content-type': contentType, 'api-version': named }
        const found = recogniseVersion(plan, facts('/x', headers))
        return (found.version === undefined) === (found.kind === 'none' || found.kind === 'unknown')
      }),
    ),
  )
})
