import t from 'tap'
import { type CniExpectation, type CniFacts, cniLines } from '../../../../agent/doctor/cni-lines.ts'
import { pluginEntry } from '../../../../cni/install/install.ts'
import { chainInto } from '../../../../cni/install/network-list.ts'

const PLAIN = JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [{ type: 'bridge' }, { type: 'portmap' }] })
const CHAINED = chained(PLAIN)
const BARE: CniFacts = {
  confDir: '/etc/cni/net.d',
  binDir: '/opt/cni/bin',
  named: { confDir: false, binDir: false },
  configurations: ['10-net.conflist'],
  text: PLAIN,
  plugins: ['bridge', 'portmap'],
  binary: 'absent',
  binaryVersions: undefined,
}
const NAMED = { confDir: true, binDir: true }
const INSTALLED: CniFacts = { ...BARE, text: CHAINED, binary: 'present', binaryVersions: ['0.3.1', '1.0.0'] }

function chained(text: string): string {
  const result = chainInto(text, pluginEntry({ hostConfDir: '/etc/cni/net.d' }))
  if (result.kind !== 'chained') throw new Error(`Not chained: ${result.kind}`)
  return result.text
}

type Row = readonly [string, CniFacts, CniExpectation, ('ok' | 'warning' | 'failure')[], RegExp]

t.test('the chain and the executable are what was expected, or it is said what is not', async (t) => {
  const rows: readonly Row[] = [
    ['installed', INSTALLED, 'plugin', ['ok', 'ok'], /chained into .*10-net.conflist \(bridge, portmap, weir\)/],
    ['installed, asked from outside', INSTALLED, 'either', ['ok', 'ok'], /answers, version 1.0.0/],
    ['not chained', { ...INSTALLED, text: PLAIN }, 'plugin', ['failure', 'ok'], /not chained into .*10-net/],
    [
      'no executable',
      { ...INSTALLED, binary: 'absent' },
      'plugin',
      ['ok', 'failure'],
      /bin\/weir is missing.*--cni-bin-dir/,
    ],
    ['not executable', { ...INSTALLED, binary: 'not-executable' }, 'plugin', ['ok', 'failure'], /chmod 755/],
    [
      'it does not run',
      { ...INSTALLED, binaryVersions: undefined },
      'plugin',
      ['ok', 'warning'],
      /does not answer VERSION/,
    ],
    [
      'another version',
      { ...INSTALLED, binaryVersions: ['0.3.1'] },
      'plugin',
      ['ok', 'failure'],
      /speaks 0.3.1.* asks for 1.0.0/,
    ],
    ['no directory', { ...BARE, configurations: undefined }, 'plugin', ['failure'], /does not exist.*--cni-conf-dir/],
    ['no directory, no agent', { ...BARE, configurations: undefined }, 'nothing', ['ok'], /no \/etc\/cni/],
    [
      'no directory where one was named',
      { ...BARE, named: NAMED, configurations: undefined, plugins: undefined },
      'nothing',
      ['failure', 'failure'],
      /net.d is no directory.*--cni-conf-dir\n.*bin is no directory.*--cni-bin-dir/,
    ],
    [
      'no directory where one was named, an agent runs',
      { ...INSTALLED, named: NAMED, plugins: undefined },
      'either',
      ['ok', 'ok', 'failure'],
      /bin is no directory/,
    ],
    [
      'no network plugins, and nothing that asks for any',
      { ...BARE, configurations: undefined, plugins: undefined },
      'nothing',
      ['ok'],
      /no \/etc\/cni/,
    ],
    ['plugins elsewhere', { ...BARE, plugins: undefined }, 'nothing', ['ok', 'warning'], /no \/opt\/.*--cni-bin-dir/],
    ['no plugin', { ...BARE, plugins: [] }, 'nothing', ['ok', 'warning'], /bin holds no network plugin/],
    [
      'no plugin where some were named',
      { ...BARE, named: { ...NAMED, confDir: false }, configurations: undefined, plugins: [] },
      'nothing',
      ['ok', 'warning'],
      /holds no network plugin/,
    ],
    ['no configuration', { ...BARE, configurations: [] }, 'nothing', ['warning'], /holds no network configuration/],
    ['unreadable', { ...BARE, text: undefined }, 'nothing', ['failure'], /cannot be read/],
    ['half written', { ...BARE, text: '{"plug' }, 'nothing', ['failure'], /not a JSON object/],
    [
      'a version of the future',
      { ...BARE, text: PLAIN.replace('1.0.0', '9.0.0') },
      'nothing',
      ['failure'],
      /asks for cniVersion "9.0.0"/,
    ],
    ['before installing', BARE, 'nothing', ['ok'], /10-net.conflist \(bridge, portmap\) can take Weir/],
    [
      'a lone configuration',
      { ...BARE, configurations: ['10-a.conf'], text: '{"cniVersion":"0.3.1","name":"a","type":"ptp"}' },
      'nothing',
      ['ok'],
      /10-a.conf \(ptp\) can take Weir/,
    ],
    ['left behind in the chain', INSTALLED, 'nothing', ['warning'], /no agent runs here.*weir uninstall/],
    ['left behind as a file', { ...INSTALLED, text: PLAIN }, 'nothing', ['ok', 'warning'], /left over.*weir uninstall/],
  ]
  for (const [name, facts, expected, results, text] of rows) {
    const lines = cniLines(facts, expected)
    t.strictSame(
      lines.map(({ result }) => result),
      results,
      name,
    )
    t.match(lines.map(({ what, remedy }) => `${what}: ${remedy}`).join('\n'), text, name)
  }
})
