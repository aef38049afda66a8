import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { chainOnce, unchainAll } from '../../../cni/install/chain.ts'
import { indexPath, installExecutable, pluginEntry, uninstall } from '../../../cni/install/install.ts'
import { fileStamp, replaceFile } from '../../../cni/install/replace-file.ts'
import { watchChain } from '../../../cni/install/watch-chain.ts'

const LIST = '{\n  "cniVersion": "1.0.0",\n  "name": "k8s",\n  "plugins": [{ "type": "bridge" }]\n}\n'
const CONF = '{"cniVersion":"0.4.0",  "name":"lone","type":"bridge"}'
const ENTRY = pluginEntry({ hostConfDir: '/etc/cni/net.d' })

function typesIn(path: string): string[] {
  return JSON.parse(readFileSync(path, 'utf8')).plugins.map(({ type }: { type: string }) => type)
}

t.test('the first configuration by name is chained, and given back as it was', (t) => {
  const dir = t.testdir({ '20-b.conflist': LIST, '10-a.conflist': LIST, '00-notes.txt': 'x', '05.conflist.bak': 'x' })
  t.same(chainOnce(dir, ENTRY), { kind: 'chained', file: '10-a.conflist', changed: true })
  t.same(typesIn(join(dir, '10-a.conflist')), ['bridge', 'weir'])
  t.equal(readFileSync(join(dir, '20-b.conflist'), 'utf8'), LIST)
  t.same(chainOnce(dir, ENTRY), { kind: 'chained', file: '10-a.conflist', changed: false })
  t.same(unchainAll(dir), ['10-a.conflist'])
  t.equal(readFileSync(join(dir, '10-a.conflist'), 'utf8'), LIST)
  t.same(readdirSync(dir).sort(), ['00-notes.txt', '05.conflist.bak', '10-a.conflist', '20-b.conflist'])
  t.end()
})

t.test('a lone configuration becomes a list that runtimes take in its place, and comes back', (t) => {
  for (const ending of ['.conf', '.json']) {
    const file = `10-a${ending}`
    const dir = t.testdir({ [file]: CONF, '10-aa.conflist': LIST, '20-z.conf': CONF })
    const before = statSync(join(dir, file))
    t.same(chainOnce(dir, ENTRY), { kind: 'chained', file: `${file}.conflist`, changed: true })
    t.same(typesIn(join(dir, `${file}.conflist`)), ['bridge', 'weir'])
    t.notOk(existsSync(join(dir, file)))
    t.same(chainOnce(dir, ENTRY), { kind: 'chained', file: `${file}.conflist`, changed: false })
    unchainAll(dir)
    t.equal(readFileSync(join(dir, file), 'utf8'), CONF)
    t.equal(statSync(join(dir, file)).ino, before.ino, 'the very file')
    t.same(readdirSync(dir).sort(), [file, '10-aa.conflist', '20-z.conf'].sort())
  }
  t.end()
})

t.test('a lone configuration written again by its owner is followed', (t) => {
  const dir = t.testdir({ '10-a.conf': CONF })
  chainOnce(dir, ENTRY)
  const newer = CONF.replace('bridge', 'ptp')
  writeFileSync(join(dir, '10-a.conf'), newer)
  t.match(chainOnce(dir, ENTRY), { file: '10-a.conf.conflist', changed: true })
  t.same(typesIn(join(dir, '10-a.conf.conflist')), ['ptp', 'weir'])
  unchainAll(dir)
  t.same(readdirSync(dir), ['10-a.conf'])
  t.equal(readFileSync(join(dir, '10-a.conf'), 'utf8'), newer)
  t.end()
})

t.test('a list that we made and others changed stays, without our entry', (t) => {
  const dir = t.testdir({ '10-a.conf': CONF })
  chainOnce(dir, ENTRY)
  const path = join(dir, '10-a.conf.conflist')
  writeFileSync(path, readFileSync(path, 'utf8').replace('"lone"', '"lone", "mtu": 1400').replace('"bridge"', '"ptp"'))
  unchainAll(dir)
  t.same(readdirSync(dir), ['10-a.conf.conflist'])
  t.same(typesIn(path), ['ptp'])
  t.end()
})

t.test('changes of others in a list survive taking our entry out', (t) => {
  const dir = t.testdir({ 'a.conflist': LIST })
  chainOnce(dir, ENTRY)
  const path = join(dir, 'a.conflist')
  writeFileSync(path, readFileSync(path, 'utf8').replace('"k8s"', '"other"'))
  unchainAll(dir)
  t.equal(readFileSync(path, 'utf8'), LIST.replace('"k8s"', '"other"'))
  t.end()
})

t.test('a file that is missing or half written is waited for and not touched', (t) => {
  const dir = t.testdir({ empty: {}, half: { 'a.conflist': '{"cniVersion":"1.0.0","plug', 'b.conflist': LIST } })
  t.match(chainOnce(join(dir, 'none'), ENTRY), { kind: 'waiting', why: /does not exist/ })
  t.match(chainOnce(join(dir, 'empty'), ENTRY), { kind: 'waiting', why: /holds no network configuration/ })
  t.match(chainOnce(join(dir, 'half'), ENTRY), { kind: 'unfit', file: 'a.conflist', why: /half written/ })
  t.same(readdirSync(join(dir, 'half')).sort(), ['a.conflist', 'b.conflist'])
  t.equal(readFileSync(join(dir, 'half/b.conflist'), 'utf8'), LIST)
  t.end()
})

t.test('mode and owner stay; a file changed meanwhile is not overwritten', (t) => {
  const dir = t.testdir({ 'a.conflist': LIST })
  const path = join(dir, 'a.conflist')
  const stamp = fileStamp(path)
  writeFileSync(path, 'newer', { mode: 0o600 })
  t.equal(replaceFile(path, 'ours', { ...(stamp === undefined ? {} : { stamp }) }), false)
  t.equal(readFileSync(path, 'utf8'), 'newer')
  t.equal(replaceFile(path, 'ours'), true)
  t.same(readdirSync(dir), ['a.conflist'], 'no temporary file is left')
  t.end()
})

t.test('the watch chains what appears, is rewritten, or comes before', async (t) => {
  const dir = t.testdir({})
  const states: string[] = []
  let wake = Promise.withResolvers<void>()
  // Neither a watch nor its timers keep a process alive.
  const alive = setInterval(() => undefined, 60_000)
  t.teardown(() => clearInterval(alive))
  using _ = watchChain({
    mayChain: () => true,
    confDir: dir,
    entry: ENTRY,
    periodMs: 3_600_000,
    onState: (_state, text) => {
      states.push(text)
      wake.resolve()
      wake = Promise.withResolvers()
    },
  })
  const next = async (act: () => void) => {
    const told = wake.promise
    act()
    await told
    return states.at(-1)
  }
  t.match(states[0], /waits: .* holds no network configuration/)
  const path = join(dir, '50-a.conflist')
  t.equal(await next(() => writeFileSync(path, LIST)), 'CNI plugin chained in 50-a.conflist')
  t.same(typesIn(path), ['bridge', 'weir'])
  t.equal(await next(() => replaceFile(path, LIST)), 'CNI plugin chained in 50-a.conflist')
  t.same(typesIn(path), ['bridge', 'weir'])
  t.equal(await next(() => writeFileSync(join(dir, '10-b.conflist'), LIST)), 'CNI plugin chained in 10-b.conflist')
  t.match(await next(() => writeFileSync(join(dir, '00-c.conflist'), '{')), /not chained: 00-c.conflist .*half written/)
  unchainAll(dir)
  t.equal(readFileSync(path, 'utf8'), LIST)
})

t.test('the executable is put in place in one step, and goes with everything else', (t) => {
  const dir = t.testdir({ built: '#!/bin/sh\n', bin: { weir: 'old' }, conf: { 'a.conflist': LIST } })
  const bin = join(dir, 'bin')
  installExecutable(join(dir, 'built'), bin)
  t.equal(readFileSync(join(bin, 'weir'), 'utf8'), '#!/bin/sh\n')
  t.equal(statSync(join(bin, 'weir')).mode & 0o777, 0o755)
  t.same(readdirSync(bin), ['weir'])
  chainOnce(join(dir, 'conf'), ENTRY)
  t.same(uninstall(join(dir, 'conf'), bin), ['a.conflist'])
  t.same(readdirSync(bin), [])
  t.same(readdirSync(join(dir, 'conf')), ['a.conflist'])
  t.throws(() => installExecutable(join(dir, 'none'), bin), /is missing; build it with/)
  t.throws(() => installExecutable(join(dir, 'built'), join(dir, 'none')), /--cni-bin-dir/)
  t.equal(ENTRY.index, indexPath('/etc/cni/net.d'))
  t.end()
})
