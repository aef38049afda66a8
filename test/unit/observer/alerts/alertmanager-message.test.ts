/** Messages as Alertmanager writes and reads them. */
import t from 'tap'
import type { AlertReceiver } from '../../../../src/observer/alerts/alert-rule.ts'
import {
  apiMessage,
  fingerprintOf,
  type ToldAlert,
  webhookMessage,
} from '../../../../src/observer/alerts/alertmanager-message.ts'

const RECEIVER: AlertReceiver = {
  url: 'http://receiver/hook',
  format: 'webhook',
  receiver: 'weir',
  headers: {},
  bearerTokenFile: undefined,
  caFile: undefined,
  timeoutMs: 1000,
  repeatEveryMs: 60_000,
  externalUrl: '',
}
const START = Date.parse('2026-11-21T12:00:00Z')
const FIRING: ToldAlert = {
  status: 'firing',
  labels: { alertname: 'A', node: 'node-1', service: 'shop/web' },
  annotations: { summary: 'web', runbook: 'r' },
  startsAtMs: START,
  endsAtMs: undefined,
}
const OVER: ToldAlert = {
  ...FIRING,
  status: 'resolved',
  labels: { ...FIRING.labels, service: 'shop/db' },
  annotations: { summary: 'db', runbook: 'r' },
  endsAtMs: START + 1500,
}

t.test('fingerprints are those that Alertmanager 0.25 makes of the same labels', async (t) => {
  t.equal(fingerprintOf({}), 'cbf29ce484222325')
  t.equal(fingerprintOf({ zone: 'us-1', team: 'blue', alertname: 'High memory usage' }), 'b4ab7c4e8d6676fb')
})

t.test('the webhook message, version 4', async (t) => {
  t.same(webhookMessage(RECEIVER, 'A', [FIRING, OVER]), {
    version: '4',
    groupKey: '{}:{alertname="A"}',
    truncatedAlerts: 0,
    status: 'firing',
    receiver: 'weir',
    groupLabels: { alertname: 'A' },
    commonLabels: { alertname: 'A', node: 'node-1' },
    commonAnnotations: { runbook: 'r' },
    externalURL: '',
    alerts: [
      {
        status: 'firing',
        labels: FIRING.labels,
        annotations: FIRING.annotations,
        startsAt: '2026-11-21T12:00:00.000Z',
        endsAt: '0001-01-01T00:00:00Z',
        generatorURL: '',
        fingerprint: fingerprintOf(FIRING.labels),
      },
      {
        status: 'resolved',
        labels: OVER.labels,
        annotations: OVER.annotations,
        startsAt: '2026-11-21T12:00:00.000Z',
        endsAt: '2026-11-21T12:00:01.500Z',
        generatorURL: '',
        fingerprint: fingerprintOf(OVER.labels),
      },
    ],
  })
  t.match(webhookMessage(RECEIVER, 'A', [OVER]), { status: 'resolved', commonLabels: OVER.labels })
})

t.test(
  'what Alertmanager’s own API takes: an end in the future while it fires, for as long as four repeats',
  async (t) => {
    const now = START + 10_000
    t.same(apiMessage({ ...RECEIVER, externalUrl: 'https://weir.example/' }, [FIRING, OVER], now), [
      {
        labels: FIRING.labels,
        annotations: FIRING.annotations,
        startsAt: '2026-11-21T12:00:00.000Z',
        endsAt: '2026-11-21T12:04:10.000Z',
        generatorURL: 'https://weir.example/',
      },
      {
        labels: OVER.labels,
        annotations: OVER.annotations,
        startsAt: '2026-11-21T12:00:00.000Z',
        endsAt: '2026-11-21T12:00:01.500Z',
        generatorURL: 'https://weir.example/',
      },
    ])
    t.notOk('generatorURL' in (apiMessage(RECEIVER, [FIRING], now)[0] ?? {}), 'an empty one is no URI')
  },
)
