/** Who may ask where others reach: tokens, sessions, guesses. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Gatekeeper } from '../../../agent/admin/access.ts'
import { TokenFile } from '../../../agent/admin/token-file.ts'

const TOKEN = 'a-token-of-some-length'

function open(protectsMetrics = false) {
  const clock = { nowMs: Date.parse('2026-11-21T10:00:00Z'), token: TOKEN }
  const gatekeeper = new Gatekeeper({ token: () => clock.token, protectsMetrics }, () => clock.nowMs)
  const asker = (headers: Record<string, string> = {}, remoteAddress = '10.0.0.9') => ({ headers, remoteAddress })
  return { clock, gatekeeper, asker }
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const cookieOf = (header: unknown) => ({ cookie: String(header).split(';')[0] ?? '' })

t.test('probes and metrics are open, all else asks for the token', (t) => {
  const { gatekeeper, asker } = open()
  for (const path of ['/healthz/live', '/healthz/ready', '/metrics'])
    t.equal(gatekeeper.refuse(path, asker()), undefined, path)
  for (const path of ['/status', '/traffic', '/config', '/logs', '/nodes', '/metricsx', '/healthz'])
    t.match(gatekeeper.refuse(path, asker()), { status: 401, headers: { 'www-authenticate': /^Bearer/ } }, path)
  t.equal(gatekeeper.refuse('/status', asker(bearer(TOKEN))), undefined)
  for (const wrong of [`${TOKEN}x`, TOKEN.slice(1), 'x', TOKEN.toUpperCase()])
    t.match(gatekeeper.refuse('/status', asker(bearer(wrong))), { status: 401, body: /wrong/ })
  t.match(gatekeeper.refuse('/status', asker({ authorization: TOKEN })), { status: 401 })
  t.match(open(true).gatekeeper.refuse('/metrics', asker()), { status: 401 })
  t.end()
})

t.test('a browser that has shown the token has a session, which scripts cannot read, until it ends', (t) => {
  const { gatekeeper, asker, clock } = open()
  t.match(gatekeeper.logIn(asker()), { status: 401 })
  t.match(gatekeeper.logIn(asker(bearer('guess-guess-guess'))), { status: 401 })
  const { status, headers } = gatekeeper.logIn(asker(bearer(TOKEN)))
  t.equal(status, 204)
  t.match(
    headers?.['set-cookie'],
    /^weir-[0-9a-f]{8}=\d+\.[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/,
  )
  t.notMatch(headers?.['set-cookie'], TOKEN)
  const session = cookieOf(headers?.['set-cookie'])
  t.equal(gatekeeper.refuse('/status', asker(session)), undefined)
  t.equal(gatekeeper.refuse('/status', asker({ cookie: `other=1; ${session.cookie}; more=2` })), undefined)
  const later = session.cookie.replace(/=\d/, '=9')
  t.match(gatekeeper.refuse('/status', asker({ cookie: later })), { status: 401 }, 'its end cannot be put off')
  t.match(gatekeeper.logOut(), { status: 204, headers: { 'set-cookie': /=; Path=\/; Max-Age=0;/ } })
  clock.nowMs += 12 * 3_600_000
  t.match(gatekeeper.refuse('/status', asker(session)), { status: 401 })
  clock.nowMs -= 3_600_000
  t.equal(gatekeeper.refuse('/status', asker(session)), undefined)
  clock.token = 'another-token-of-some-length'
  t.match(gatekeeper.refuse('/status', asker(session)), { status: 401 }, 'a new token ends the sessions of the old one')
  t.end()
})

t.test('whoever guesses is slowed down, others are not', (t) => {
  const { gatekeeper, asker, clock } = open()
  const guess = (address: string, token = 'guess-guess-guess') =>
    gatekeeper.refuse('/status', asker(bearer(token), address))?.status
  const told = Array.from({ length: 30 }, () => guess('10.0.0.66'))
  t.equal(told.filter((status) => status === 401).length, 10)
  t.equal(told.filter((status) => status === 429).length, 20)
  t.equal(guess('10.0.0.66', TOKEN), 429, 'nothing is compared, so that the right one cannot be found that way')
  t.equal(guess('::ffff:10.0.0.66'), 429)
  t.equal(guess('10.0.0.9', TOKEN), undefined)
  clock.nowMs += 3_000
  t.same([guess('10.0.0.66'), guess('10.0.0.66'), guess('10.0.0.66'), guess('10.0.0.66')], [401, 401, 401, 429])
  for (let at = 0; at < 10; at++) guess(`2001:db8:1:2::${at}`)
  t.equal(guess('2001:db8:1:2:ffff::1'), 429, 'a network of one machine is one')
  t.equal(guess('2001:db8:1:3::1'), 401)
  t.end()
})

t.test('guessing from many addresses is bounded too, and takes no more memory', (t) => {
  const { gatekeeper, asker } = open()
  const statuses = Array.from({ length: 2_000 }, (_, at) => {
    const address = `10.1.${at >> 8}.${at & 255}`
    return gatekeeper.refuse('/status', asker(bearer('guess-guess-guess'), address))?.status
  })
  t.equal(statuses.filter((status) => status === 401).length, 256 + 10)
  t.equal(gatekeeper.refuse('/status', asker(bearer(TOKEN), '10.1.0.0')), undefined)
  t.end()
})

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'weir-token-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

t.test('a token is made once, for root alone, and read again when it has been replaced', (t) => {
  const file = join(directory(t), 'admin-token')
  const problems: string[] = []
  const clock = { nowMs: 0 }
  const openFile = () =>
    new TokenFile(
      file,
      true,
      (problem) => problems.push(problem),
      () => clock.nowMs,
    )
  const made = openFile()
  t.match(made.token(), /^[\w-]{43}$/)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.equal(openFile().token(), made.token(), 'it stays over a restart')
  const first = made.token()
  writeFileSync(file, 'replaced-by-somebody-else\n')
  t.equal(made.token(), first, 'it is not looked at with each request')
  clock.nowMs += 2_000
  t.equal(made.token(), 'replaced-by-somebody-else')
  for (const bad of ['', 'short', 'two\nlines of a sufficient length']) {
    writeFileSync(file, bad)
    clock.nowMs += 2_000
    t.equal(made.token(), 'replaced-by-somebody-else', 'what is no token replaces none')
  }
  rmSync(file)
  clock.nowMs += 2_000
  t.equal(made.token(), 'replaced-by-somebody-else')
  t.equal(problems.length, 4)
  t.match(problems[0], /^Token file .*: expected one line of 16 to 1024 visible ASCII characters/)
  t.end()
})

t.test('a file that is given is never made, and none is no token', (t) => {
  const file = join(directory(t), 'token')
  const openFile = () => new TokenFile(file, false, () => {})
  t.throws(openFile, { code: 'WEIR_ADMIN_TOKEN', message: /^Cannot read the token file .*ENOENT/ })
  writeFileSync(file, 'short')
  t.throws(openFile, { code: 'WEIR_ADMIN_TOKEN', message: /expected one line/ })
  writeFileSync(file, '  enough-of-a-token-it-is \n')
  t.equal(openFile().token(), 'enough-of-a-token-it-is')
  t.equal(readFileSync(file, 'utf8'), '  enough-of-a-token-it-is \n')
  t.end()
})
