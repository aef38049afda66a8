import t from 'tap'
import { parseAgentArguments } from '../../../agent/config.ts'

t.test('defaults are those of the contract', (t) => {
  const parsed = parseAgentArguments(['--node', 'n1', '--manifests', '/etc/weir'])
  t.match(parsed, {
    kind: 'config',
    config: {
      node: 'n1',
      source: { kind: 'directory', directory: '/etc/weir' },
      stateDir: '/run/weir',
      trustDomain: 'cluster.local',
      admin: '127.0.0.1:15000',
      keepRules: false,
      accessLog: 'stdout',
      metrics: true,
      issuer: { kind: 'memory' },
      certTtlMs: 86_400_000,
      proxyUid: 1337,
      logLevel: 'info',
    },
  })
  t.end()
})

t.test('who may ask: a token file, and peers by name, by address or by their pods', (t) => {
  const parse = (...args: string[]) => parseAgentArguments(['--node=n1', '--manifests=/m', ...args])
  t.match(parse(), { config: { adminAccess: { peers: {}, protectMetrics: false } } })
  t.match(
    parse('--admin-peers=node-2=10.0.0.2:15000,10.0.0.3:15000', '--admin-peer-token-file=t', '--admin-protect-metrics'),
    {
      config: {
        adminAccess: {
          peers: { 'node-2': '10.0.0.2:15000', '10.0.0.3:15000': '10.0.0.3:15000' },
          peerTokenFile: /\/t$/,
          protectMetrics: true,
        },
      },
    },
  )
  t.match(parse('--admin-peers=10.0.0.2'), { errors: [/^--admin-peers: expected addresses such as node-2=/] })
  t.match(parse('--admin-peers=cluster'), { errors: [/^--admin-peers: cluster is only for --kubernetes/] })
  t.match(parse('--admin-peer-token-file=t'), { errors: [/only with --admin-peers/] })
  t.match(parseAgentArguments(['--node=n1', '--kubernetes', '--admin-peers=cluster']), {
    config: { adminAccess: { peers: 'cluster' } },
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

t.test('a flag that is missing is told with an example', (t) => {
  t.same(parseAgentArguments([]), {
    kind: 'errors',
    errors: [
      '--node: missing; give it as --node node-1 (see weir agent --help).',
      '--manifests: missing; give it as --manifests ./manifests, or --kubernetes in a cluster (see weir agent --help).',
    ],
  })
  t.same(parseAgentArguments(['--node=n1', '--manifests=/m', '--ca=ca:15012']), {
    kind: 'errors',
    errors: [
      '--ca-root: needed with --ca; give it as --ca-root ./root-cert.pem (see weir agent --help).',
      '--join-token: needed with --ca; give it as --join-token ./join-token (see weir agent --help).',
    ],
  })
  t.end()
})

t.test('a revocation list is given with a CA that is asked; a directory has its own', (t) => {
  const base = ['--node=n1', '--manifests=/m', '--ca-crl=crl.pem']
  const remote = ['--ca=ca:15012', '--ca-root=r', '--join-token=t']
  t.match(parseAgentArguments([...base, ...remote]), { config: { revocationFile: `${process.cwd()}/crl.pem` } })
  const message = '--ca-crl: only with --ca; the CA of --ca-dir DIR has its list in DIR/ca-crl.pem.'
  for (const wrong of [[], ['--ca-dir=/ca']]) {
    t.same(parseAgentArguments([...base, ...wrong]), { kind: 'errors', errors: [message] })
  }
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
  t.match(parsed, { config: { accessLog: /^\/.*\/a\.log$/, source: { directory: /^\/.*\/m$/ } } })
  t.end()
})

t.test('logs of enrolled pods are read unless said otherwise, and shipped where a place is named', (t) => {
  const base = ['--node=n1', '--manifests=/m']
  const parsed = (...args: string[]) => parseAgentArguments([...base, ...args])
  t.match(parsed(), {
    config: {
      logs: {
        which: 'enrolled',
        root: '/var/log/pods',
        keepMs: 3_600_000,
        keepMib: 16,
        file: undefined,
        otlpUrl: undefined,
      },
    },
  })
  t.match(parsed('--logs=all', '--log-keep=0s', '--log-file=/x', '--log-otlp=http://c:4318/v1/logs'), {
    config: { logs: { which: 'all', keepMs: 0, file: '/x', otlpUrl: 'http://c:4318/v1/logs' } },
  })
  for (const [args, error] of [
    [['--logs=some'], /^--logs: expected enrolled, all or off/],
    [['--log-keep=forever'], /^--log-keep: expected a duration/],
    [['--log-otlp=http://c:4318'], /^--log-otlp: expected a URL with its path/],
    [['--logs=off', '--log-file=/x'], /^--log-file: not together with --logs off/],
  ] as const) {
    t.match(parsed(...args), { kind: 'errors', errors: [error] }, args.join(' '))
  }
  t.end()
})

t.test('what is traced, and where spans go', (t) => {
  const base = ['--node', 'n', '--manifests', '/m']
  const parsed = (...args: string[]) => parseAgentArguments([...base, ...args])
  const url = 'http://c:4318/v1/traces'
  t.match(parsed(), { config: { tracing: undefined } })
  t.match(parsed(`--trace-otlp=${url}`), {
    config: { tracing: { url, settings: { sampleRatio: 0.01, tail: 'on', slowMs: 1000 } } },
  })
  t.match(parsed(`--trace-otlp=${url}`, '--trace-sample=.5', '--trace-tail=off', '--trace-slow=250ms'), {
    config: { tracing: { settings: { sampleRatio: 0.5, tail: 'off', slowMs: 250 } } },
  })
  for (const [args, error] of [
    [['--trace-otlp=c:4318'], /^--trace-otlp: expected a URL with its path/],
    [[`--trace-otlp=${url}`, '--trace-sample=1.5'], /^--trace-sample: expected a share from 0 to 1/],
    [[`--trace-otlp=${url}`, '--trace-sample=1%'], /^--trace-sample: expected a share from 0 to 1/],
    [[`--trace-otlp=${url}`, '--trace-slow=0s'], /^--trace-slow: expected a duration such as 250ms/],
    [[`--trace-otlp=${url}`, '--trace-tail=yes'], /^--trace-tail: expected on or off/],
    [['--trace-sample=0.1'], /^--trace-sample: only with --trace-otlp/],
  ] as const) {
    t.match(parsed(...args), { kind: 'errors', errors: [error] }, args.join(' '))
  }
  t.end()
})

t.test('live traffic is shown without secrets and queries; more can be hidden', (t) => {
  const base = ['--node', 'n', '--manifests', '/m']
  const parsed = (...args: string[]) => parseAgentArguments([...base, ...args])
  t.match(parsed(), { config: { tap: { enabled: true, redact: [], showQueries: false } } })
  t.match(parsed('--tap=off', '--tap-redact', 'X-Tenant,x_user', '--tap-query=show'), {
    config: { tap: { enabled: false, redact: ['x-tenant', 'x-user'], showQueries: true } },
  })
  for (const [args, error] of [
    [['--tap=maybe'], /^--tap: expected on or off/],
    [['--tap-redact=a b'], /^--tap-redact: expected names of header fields/],
    [['--tap-redact='], /^--tap-redact: /],
    [['--tap-query=on'], /^--tap-query: expected hide or show/],
  ] as const) {
    t.match(parsed(...args), { kind: 'errors', errors: [error] }, args.join(' '))
  }
  t.end()
})
