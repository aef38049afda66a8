import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { RevocationList } from '#identity/ca'
import { RevocationWatch } from '../../../agent/identity/revocation-watch.ts'
import { FakeClock } from './fake-clock.ts'

/** A list is a line: serials by comma, then `until` and milliseconds from the clock's start; else it is not good. */
function start(t: Test, optional = true) {
  const file = join(t.testdir({}), 'ca-crl.pem')
  const clock = new FakeClock()
  const beganMs = clock.nowMs()
  const changes: string[] = []
  const problems: string[] = []
  let issuersPem = 'a CA'
  const watch = new RevocationWatch({
    file,
    optional,
    clock,
    issuersPem: () => issuersPem,
    read: async (pem): Promise<RevocationList> => {
      const [, serials = '', end] = /^(\S+) until (\d+)$/.exec(pem) ?? []
      if (serials === '') throw new Error('is not good')
      return { revocations: [{ issuer: 'CN=x', serials: serials.split(',') }], nextUpdateMs: beganMs + Number(end) }
    },
    onChange: (lists) => changes.push(lists.flatMap(({ serials }) => serials).join()),
    onProblem: (line) => problems.push(line.replace(file, 'FILE')),
  })
  t.teardown(() => watch[Symbol.dispose]())
  const setIssuers = (pem: string) => {
    issuersPem = pem
  }
  return { file, clock, watch, changes, problems, setIssuers }
}

t.test('a list is followed, and told when it changes', async (t) => {
  const { file, watch, changes, problems } = start(t)
  t.equal(watch.revocations, undefined, 'nothing is known before the first look')
  await watch.look()
  t.strictSame(watch.revocations, [], 'no file, nobody revoked')
  writeFileSync(file, 'A until 60000')
  await watch.look()
  await watch.look()
  writeFileSync(file, 'A,B until 60000')
  await watch.look()
  rmSync(file)
  await watch.look()
  t.strictSame(changes, ['', 'A', 'A,B', ''])
  t.strictSame(problems, [])
})

t.test('it looks by itself', async (t) => {
  const { file, clock, watch, changes } = start(t)
  writeFileSync(file, 'A until 60000')
  await clock.advance(2_000)
  await watch.look()
  t.strictSame(changes, ['A'])
})

t.test('a bad list changes nothing and is told once; the good one ends that', async (t) => {
  const { file, watch, changes, problems } = start(t)
  writeFileSync(file, 'A until 60000')
  await watch.look()
  for (const text of ['nonsense', 'more nonsense', 'x'.repeat((1 << 20) + 1)]) {
    writeFileSync(file, text)
    await watch.look()
    await watch.look()
  }
  t.equal(watch.revocations?.[0]?.serials[0], 'A')
  writeFileSync(file, 'B until 60000')
  await watch.look()
  t.strictSame(changes, ['A', 'B'])
  t.strictSame(problems, [
    'The revocation list FILE is not good; the list read before stays in force',
    'The revocation list FILE is larger than 1 MiB; the list read before stays in force',
    '',
  ])
})

t.test('a list past its end stays in force, and that is told', async (t) => {
  const { file, clock, watch, changes, problems } = start(t)
  writeFileSync(file, 'A until 60000')
  await watch.look()
  await clock.advance(60_000)
  await watch.look()
  t.strictSame([changes, watch.revocations?.[0]?.serials], [['A'], ['A']])
  t.match(problems, [/^The revocation list FILE was to be replaced by 2026-01-01T00:01:00.000Z and stays in force/])
  writeFileSync(file, 'A until 900000')
  await watch.look()
  t.equal(watch.problem, '')
})

t.test('a list that must be there and is not lets nobody in, until it is there', async (t) => {
  const { file, watch, changes } = start(t, false)
  await watch.look()
  t.equal(watch.revocations, undefined)
  const missing =
    /is missing: make one .*weir ca revoke --ca-dir DIR.* copy DIR\/ca-crl\.pem here; no certificate is used/
  t.match(watch.problem, missing)
  writeFileSync(file, 'A until 60000')
  await watch.look()
  t.strictSame([changes, watch.problem], [['A'], ''])
  rmSync(file)
  await watch.look()
  t.equal(watch.revocations?.[0]?.serials[0], 'A', 'a lost file frees nobody')
  t.match(watch.problem, /the list read before stays in force$/)
})

t.test('it waits for the CAs, and looks again when there are others', async (t) => {
  const { file, watch, changes, problems, setIssuers } = start(t)
  setIssuers('')
  writeFileSync(file, 'nonsense')
  await watch.look()
  t.strictSame([watch.revocations, problems], [undefined, []])
  setIssuers('a CA')
  await watch.look()
  t.equal(problems.length, 1)
  writeFileSync(file, readFileSync(file, 'utf8'))
  setIssuers('another CA')
  await watch.look()
  t.strictSame([changes, problems.length], [[], 1])
})
