import t from 'tap'
import { parseAgentArguments } from '../../../agent/config.ts'

t.test('defaults are those of the contract', (t) => {
  const parsed = parseAgentArguments(['--node', 'n1', '--manifests', '/etc/weir'])
  t.match(parsed, {
    kind: 'config',
    config: {
      node: 'n1',
      manifests: '/etc/weir',
      stateDir: '/run/weir',
      trustDomain: 'cluster.local',
      admin: '127.0.0.1:15000',
      keepRules: false,
      accessLog: 'stdout',
      issuer: { kind: 'memory' },
      certTtlMs: 86_400_000,
      proxyUid: 1337,
      logLevel: 'info',
    },
  })
  t.end()
})

t.test('all mistakes are told at once', (t) => {
  const parsed = parseAgentArguments([
    '--proxies',
    '0',
    '--admin=nowhere',
    '--log-level',
    'loud',
    '--frob',
    '--node',
    'N!',
  ])
  t.equal(parsed.kind, 'errors')
  const errors = parsed.kind === 'errors' ? parsed.errors : []
  for (const flag of ['--proxies', '--admin', '--log-level', '--frob', '--node', '--manifests']) {
    t.ok(
      errors.some((error) => error.includes(flag)),
      flag,
    )
  }
  t.equal(errors.length, 6)
  t.end()
})

t.test('a flag without its value, or given twice, is refused', (t) => {
  const base = ['--node', 'n1', '--manifests', '/m']
  t.equal(parseAgentArguments([...base, '--state-dir']).kind, 'errors')
  t.equal(parseAgentArguments([...base, '--node', 'n2']).kind, 'errors')
  t.end()
})

t.test('none switches the admin address off, files are made absolute', (t) => {
  const parsed = parseAgentArguments([
    '--node=n1',
    '--manifests=m',
    '--admin=none',
    '--access-log=a.log',
    '--keep-rules',
  ])
  t.match(parsed, { kind: 'config', config: { admin: undefined, keepRules: true } })
  t.match(parsed, { config: { accessLog: /^\/.*\/a\.log$/, manifests: /^\/.*\/m$/ } })
  t.end()
})
