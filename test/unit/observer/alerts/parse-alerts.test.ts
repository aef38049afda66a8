/** The file of alert rules: what is read, and each mistake at its place. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { describeRule, parseAlerts } from '#observer/alerts'

function issuesOf(text: string): readonly string[] {
  const parsed = parseAlerts(parse(text))
  return parsed.kind === 'issues' ? parsed.issues.map(({ field, message }) => `${field}: ${message}`) : []
}

function rulesOf(text: string) {
  const parsed = parseAlerts(parse(text))
  if (parsed.kind === 'issues') throw new Error(JSON.stringify(parsed.issues))
  return parsed.alerts
}

/** One rule, with a name. */
function ofRule(text: string): readonly string[] {
  return issuesOf(`rules: [{ name: A, ${text} }]`)
}

t.test('the example is in force as it is written', async (t) => {
  const { webhook, rules } = rulesOf(
    readFileSync(join(import.meta.dirname, '../../../../examples/alerts.yaml'), 'utf8'),
  )
  t.match(webhook, { format: 'webhook', receiver: 'weir', timeoutMs: 10_000, repeatEveryMs: 14_400_000 })
  t.same(
    rules.map((rule) => `${rule.name} ${rule.severity}: ${describeRule(rule)}`),
    [
      'ErrorRate critical: service shop/*, errors above 5 % until 2 %, in 1m, for 1m, kept 5m',
      'SlowAnswers warning: service *, p99 above 500 ms until 300 ms, in 5m, for 2m, kept 1m',
      'NobodyComes warning: service shop/web, requests a second below 1, in 1m, for 10m, kept 1m',
      'NodeProcessors warning: the node, processor use above 90 % until 80 %, for 5m, kept 1m',
      'ProxyLag critical: each process, the lag of the event loop above 250 ms until 100 ms, for 1m, kept 1m',
      'CertificateEnds critical: identity *, certificate ends within 1h, for 1m, kept 1m',
      'Found warning: subject *, any finding that is critical, for 30s, kept 1m',
      'CheckoutFails critical: edge shop/frontend -> shop/*, errors / requests > 1% and requests >= 20, in 1m, for 1m, kept 1m',
    ],
  )
})

t.test('defaults are those of the documentation', async (t) => {
  const [rule] = rulesOf('rules: [{ name: A, errors: { above: 0.05 } }]').rules
  t.same(rule, {
    name: 'A',
    severity: 'warning',
    condition: { kind: 'errors', of: 'errorRate', direction: 'above', threshold: 0.05, clear: 0.05, minRequests: 10 },
    scope: { kind: 'node' },
    windowMs: 60_000,
    forMs: 60_000,
    keepFiringForMs: 60_000,
    forgetAfterMs: 900_000,
    labels: {},
    annotations: {},
  })
  t.match(rulesOf('{ webhook: { url: "http://a/b", format: alertmanager-api }, rules: [] }').webhook, {
    repeatEveryMs: 60_000,
  })
})

t.test('labels of the file are those of each rule, which may have others', async (t) => {
  const text = '{ labels: { a: "1", b: "2" }, rules: [{ name: A, errors: { above: 1% }, labels: { b: "3" } }] }'
  t.same(rulesOf(text).rules[0]?.labels, { a: '1', b: '3' })
})

t.test('a rule says one thing, about one kind of thing', async (t) => {
  for (const [rule, expected] of [
    [
      'for: 1m',
      'rules[0]: says nothing to look at: give it one of errors, latency, rate, saturation, certificate, finding, expression',
    ],
    ['errors: { above: 5% }, rate: { above: 1 }', 'rules[0].rate: not together with errors; make two rules of it'],
    ['errors: { above: 5% }, service: a/b, edge: {}', 'rules[0].edge: not together with service; keep one of them'],
    [
      'errors: { above: 5% }, identity: a',
      'rules[0].identity: does not go with errors; write service or workload or namespace or edge',
    ],
    ['saturation: { of: cpu, above: 90% }, service: a/b', 'rules[0].service: does not go with saturation'],
    ['finding: [no-endpoints], service: a/b', 'rules[0].service: does not go with finding; write subject'],
    ['errors: { above: 5% }, clearWhen: errors == 0', 'rules[0].clearWhen: goes with expression only'],
  ] as const) {
    t.same(ofRule(rule), [expected], rule)
  }
})

t.test('thresholds fit what they are of, and it ends where it does not begin again', async (t) => {
  for (const [rule, expected] of [
    ['errors: { above: 5 }', 'rules[0].errors.above: expected a share such as 5% or 0.05, got 5'],
    ['errors: { above: "5 apples" }', 'rules[0].errors.above: expected a share such as 5% or 0.05, got "5 apples"'],
    ['errors: { above: 101% }', 'rules[0].errors.above: expected a share such as 5% or 0.05, got "101%"'],
    ['errors: { above: 5%, clear: 6% }', 'rules[0].errors.clear: must not be above 0.05, where it begins'],
    [
      'errors: { abvoe: 5% }',
      'rules[0].errors.above: is missing | rules[0].errors.abvoe: unknown field; did you mean above?',
    ],
    ['latency: { aboveMs: 500ms }', 'rules[0].latency.aboveMs: expected a number of at least 0, got "500ms"'],
    ['latency: { aboveMs: 5, clearMs: 6 }', 'rules[0].latency.clearMs: must not be above 5, where it begins'],
    [
      'latency: { aboveMs: 5, percentile: p9 }',
      'rules[0].latency.percentile: expected p50, p95 or p99, got "p9" (did you mean p95?)',
    ],
    ['rate: { above: 5, below: 1 }', 'rules[0].rate: needs either above or below'],
    ['rate: {}', 'rules[0].rate: needs either above or below'],
    ['rate: { below: 5, clear: 4 }', 'rules[0].rate.clear: must not be below 5, where it begins'],
    ['rate: { above: 5, clear: 6 }', 'rules[0].rate.clear: must not be above 5, where it begins'],
    ['saturation: { of: cpu }', 'rules[0].saturation.above: is missing'],
    [
      'saturation: { of: disk, above: 1% }',
      'rules[0].saturation.of: expected cpu, memory, event-loop-lag or proxy-cpu, got "disk"',
    ],
    [
      'saturation: { of: event-loop-lag, above: 1% }',
      'rules[0].saturation.aboveMs: is missing | rules[0].saturation.above: does not go with event-loop-lag; write aboveMs',
    ],
    ['saturation: { of: cpu, above: 1%, clearMs: 3 }', 'rules[0].saturation.clearMs: does not go with cpu'],
    [
      'certificate: { expiresWithin: 2h, clear: 1h }',
      'rules[0].certificate.clear: must not be shorter than 2h, where it begins',
    ],
    [
      'certificate: { expiresWithin: soon }',
      'rules[0].certificate.expiresWithin: expected a duration such as 500ms, 10s or 1m30s, got "soon"',
    ],
    [
      'finding: [no-endpoint]',
      /^rules\[0\].finding\[0\]: expected .*, got "no-endpoint" \(did you mean no-endpoints\?\)$/,
    ],
    ['expression: erors > 1', 'rules[0].expression: column 1: "erors" is not known; did you mean errors?'],
    [
      'expression: errors > 1, clearWhen: "errors <"',
      'rules[0].clearWhen: column 9: expected a number, a value or (, got the end',
    ],
    ['errors: { above: 5% }, window: 1h', 'rules[0].window: expected a time from 1s to 10m, got 1h'],
  ] as const) {
    const found = ofRule(rule).join(' | ')
    if (typeof expected === 'string') t.equal(found, expected, rule)
    else t.match(found, expected, rule)
  }
})

t.test('names and labels are such as Prometheus has', async (t) => {
  t.match(issuesOf('rules: [{ name: a b, errors: { above: 5% } }]'), [
    /^rules\[0\].name: expected a name such as ShopErrors/,
  ])
  t.match(ofRule('errors: { above: 5% }, labels: { a-b: x }'), [/^rules\[0\].labels\[a-b\]: expected a label name/])
  t.same(ofRule('errors: { above: 5% }, labels: { service: x }'), [
    'rules[0].labels[service]: is set by Weir; choose another name than service',
  ])
  t.same(issuesOf('rules: [{ name: A, errors: { above: 5% } }, { name: A, errors: { above: 5% } }]'), [
    'rules[1].name: A is there twice',
  ])
})

t.test('the webhook is a URL without secrets in it, and its headers are its own', async (t) => {
  for (const [webhook, expected] of [
    ['{}', /^webhook.url: is missing$/],
    ['{ url: ftp://a }', /^webhook.url: expected a URL such as http/],
    ['{ url: "http://user:pass@a/b" }', /^webhook.url: must hold no user and password/],
    ['{ url: http://a, headers: { Host: b } }', /^webhook.headers\[Host\]: expected the name of a header that is not/],
    ['{ url: http://a, headers: { x: "a\\nb" } }', /^webhook.headers\[x\]: expected visible ASCII/],
    ['{ url: http://a, repeat: 4h }', /^webhook.repeat: unknown field/],
  ] as const) {
    t.match(issuesOf(`{ webhook: ${webhook}, rules: [] }`), [expected], webhook)
  }
})

t.test('what is no mapping is told, not thrown', async (t) => {
  for (const value of [undefined, null, 1, 'rules', [], { rules: null }, { rules: [null] }]) {
    t.equal(parseAlerts(value).kind, 'issues', JSON.stringify(value))
  }
})
