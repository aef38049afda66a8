import fc from 'fast-check'
import t from 'tap'
import { normalizePath } from '#policy'
import { readPaths } from '../../../src/policy/normalize-path.ts'

t.test('one resource has one path', async (t) => {
  const table: [string, string][] = [
    ['/', '/'],
    ['*', '*'],
    ['/admin', '/admin'],
    ['//admin', '/admin'],
    ['///admin', '/admin'],
    ['/%61dmin', '/admin'],
    ['/%61%64%6D%69%6e', '/admin'],
    ['/x/../admin', '/admin'],
    ['/x/%2e%2e/admin', '/admin'],
    ['/x/%2E./admin', '/admin'],
    ['/x/.%2e/admin', '/admin'],
    ['/./admin', '/admin'],
    ['/%2e/admin', '/admin'],
    ['/admin/.', '/admin/'],
    ['/admin/x/..', '/admin/'],
    ['/../admin', '/admin'],
    ['/../../admin', '/admin'],
    ['/..', '/'],
    ['\\admin', '/admin'],
    ['/x\\..\\admin', '/admin'],
    ['/%2fadmin', '/admin'],
    ['/%2Fadmin', '/admin'],
    ['/%5Cadmin', '/admin'],
    ['/x%2f..%2fadmin', '/admin'],
    ['/x%5c..%5cadmin', '/admin'],
    ['/a//b///c', '/a/b/c'],
    ['/admin/', '/admin/'],
    ['/admin//', '/admin/'],
    ['/.well-known/x', '/.well-known/x'],
    ['/...', '/...'],
    ['/a..b/..c', '/a..b/..c'],
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/caf\u00c3\u00a9', '/caf%C3%A9'],
    ['/a%20b', '/a%20b'],
    ['/a%3ab', '/a:b'],
    ['/a:b@c', '/a:b@c'],
    ['/a%3Fb', '/a%3Fb'],
    ['/a%23b', '/a%23b'],
    ['/%2561dmin', '/%2561dmin'],
    ['/a"b', '/a%22b'],
    ['/a%22b', '/a%22b'],
    ['/admin;x', '/admin;x'],
    ['/Admin', '/Admin'],
  ]
  for (const [raw, path] of table) t.strictSame(normalizePath(raw), { path }, raw)
})

t.test('paths that no honest client sends are rejected', async (t) => {
  for (const raw of [
    '',
    'admin',
    'http://x/admin',
    '/%',
    '/%6',
    '/%zz',
    '/%u0061dmin',
    '/a%00b',
    '/a\0b',
    '/a\nb',
    '/a%0ab',
    '/a%7f',
    '/a b',
    '/a#b',
    '/a?b',
    '/%c0%afadmin',
    '/%C1%A1dmin',
    '/%e0%80%afadmin',
    '/%f0%80%80%afadmin',
    '/%f8%80%80%80%af',
    '/\u{1f600}',
    '/%2525252525252561dmin',
  ]) {
    const result = normalizePath(raw)
    t.ok('reject' in result && result.reject.length > 0, JSON.stringify(raw))
  }
})

t.test('every way in which servers read an ambiguous path is given', async (t) => {
  const table: [string, string[]][] = [
    ['/plain', ['/plain']],
    ['/a//b', ['/a/b']],
    ['/public/../admin', ['/admin', '/public/../admin']],
    ['/public/..;/admin', ['/public/..;/admin', '/admin']],
    ['/admin;x', ['/admin;x', '/admin']],
    ['/%2561dmin', ['/%2561dmin', '/admin']],
    ['/%252561dmin', ['/%252561dmin', '/admin']],
    ['/x%252f..%252fadmin', ['/x%252f..%252fadmin', '/admin']],
    ['//public/admin', ['/public/admin', '/admin']],
    ['//public', ['/public', '/']],
    ['/\\public/admin', ['/public/admin', '/admin']],
    ['/a//../b', ['/b', '/a/b']],
    ['/public%2fx', ['/public/x', '/public%2Fx']],
    ['/public/..%2fadmin', ['/admin', '/public/..%2Fadmin']],
    ['/public\\x', ['/public/x', '/public%5Cx']],
    ['/100%25', ['/100%25', '/100%']],
    ['/a%2Fx/../%5cb', ['/a/b', '/%5Cb', '/b']],
  ]
  for (const [raw, expected] of table) {
    const readings: string[] = []
    t.equal(readPaths(raw, readings), undefined, raw)
    t.equal(readings[0], expected[0], raw)
    for (const reading of expected) t.ok(readings.includes(reading), `${raw} is also read as ${reading}: ${readings}`)
  }
})

const nasty = fc
  .array(
    fc.constantFrom(
      '/',
      '//',
      '.',
      '..',
      '%2e',
      '%2F',
      '%5c',
      '\\',
      '%25',
      '%61',
      'a',
      'B',
      ';',
      ';v=1',
      '%C3%A9',
      '%20',
      '~',
      '*',
      '%',
    ),
    { maxLength: 16 },
  )
  .map((parts) => `/${parts.join('')}`)

t.test('normalising is idempotent and leaves nothing to resolve', async (t) => {
  let accepted = 0
  fc.assert(
    fc.property(nasty, (raw) => {
      const once = normalizePath(raw)
      if ('reject' in once) return
      accepted++
      const twice = normalizePath(once.path)
      if (!('path' in twice) || twice.path !== once.path)
        throw new Error(`${raw} → ${once.path} → ${JSON.stringify(twice)}`)
      if (/\/\/|\\|\/\.{1,2}(\/|$)|%2[ef]/i.test(once.path)) throw new Error(`${raw} → ${once.path}`)
    }),
    { numRuns: 5000, interruptAfterTimeLimit: 2000, markInterruptAsFailure: false },
  )
  t.ok(accepted > 100)
})

t.test('what a URL parser makes of a path is among its readings', async (t) => {
  fc.assert(
    fc.property(nasty, (raw) => {
      const readings: string[] = []
      if (readPaths(raw, readings) !== undefined) return
      // As servers do that parse the request target against a base.
      const url = URL.parse(raw, 'http://base.invalid')
      if (url === null) return
      const seen = normalizePath(url.pathname)
      if (!('path' in seen) || !readings.includes(seen.path))
        throw new Error(`${raw}: ${url.pathname} not in ${readings}`)
    }),
    { numRuns: 5000, interruptAfterTimeLimit: 2000, markInterruptAsFailure: false },
  )
  t.pass('agrees')
})

t.test('a long hostile path costs no more than its length', async (t) => {
  const readings: string[] = []
  t.type(readPaths(`/%${'25'.repeat(30_000)}`, readings), 'string')
  t.equal(readPaths(`/${'../'.repeat(20_000)}`, readings), undefined)
  t.equal(readings[0], '/')
})
