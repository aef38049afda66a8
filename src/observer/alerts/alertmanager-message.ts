/**
 * Alerts as others read them: the message of Alertmanager's `webhook_config`, version 4 (notify/webhook and template.Data of
 * Alertmanager), and what its own API takes (`POST /api/v2/alerts`, api/v2/openapi.yaml).
 */
import type { AlertReceiver } from './alert-rule.ts'

export interface ToldAlert {
  readonly status: 'firing' | 'resolved'
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly startsAtMs: number
  /** Undefined while it fires. */
  readonly endsAtMs: number | undefined
}

/** How Go writes a time that is not set: what Alertmanager sends of an alert that fires. */
const NO_TIME = '0001-01-01T00:00:00Z'

/** @param groupName of all the alerts, and there is at least one */
export function webhookMessage(
  { receiver, externalUrl }: AlertReceiver,
  groupName: string,
  alerts: readonly ToldAlert[],
) {
  const groupLabels = { alertname: groupName }
  return {
    version: '4',
    groupKey: `{}:{alertname=${JSON.stringify(groupName)}}`,
    truncatedAlerts: 0,
    status: alerts.some(({ status }) => status === 'firing') ? 'firing' : 'resolved',
    receiver,
    groupLabels,
    commonLabels: common(alerts.map(({ labels }) => labels)),
    commonAnnotations: common(alerts.map(({ annotations }) => annotations)),
    externalURL: externalUrl,
    alerts: alerts.map(({ status, labels, annotations, startsAtMs, endsAtMs }) => ({
      status,
      labels,
      annotations,
      startsAt: time(startsAtMs),
      endsAt: endsAtMs === undefined ? NO_TIME : time(endsAtMs),
      generatorURL: externalUrl,
      fingerprint: fingerprintOf(labels),
    })),
  }
}

/** How many repeats may be missed before Alertmanager takes an alert for resolved; as Prometheus has it. */
const REPEATS_TO_MISS = 4

export function apiMessage({ repeatEveryMs, externalUrl }: AlertReceiver, alerts: readonly ToldAlert[], nowMs: number) {
  return alerts.map(({ labels, annotations, startsAtMs, endsAtMs }) => ({
    labels,
    annotations,
    startsAt: time(startsAtMs),
    endsAt: time(endsAtMs ?? nowMs + REPEATS_TO_MISS * repeatEveryMs),
    ...(externalUrl === '' ? {} : { generatorURL: externalUrl }),
  }))
}

const FNV_OFFSET = 0xcbf29ce484222325n
const FNV_PRIME = 0x100000001b3n
const SEPARATOR = 0xff

/** As Prometheus' common library has it (model.LabelSet.Fingerprint): FNV-1a of 64 bits, in 16 hexadecimal digits. */
export function fingerprintOf(labels: Readonly<Record<string, string>>): string {
  const encoder = new TextEncoder()
  let hash = FNV_OFFSET
  const add = (byte: number) => {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * FNV_PRIME)
  }
  for (const name of Object.keys(labels).sort()) {
    for (const part of [name, labels[name] ?? '']) {
      for (const byte of encoder.encode(part)) add(byte)
      add(SEPARATOR)
    }
  }
  return hash.toString(16).padStart(16, '0')
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}

function common(all: readonly Readonly<Record<string, string>>[]): Record<string, string> {
  const [first = {}, ...rest] = all
  return Object.fromEntries(Object.entries(first).filter(([name, value]) => rest.every((one) => one[name] === value)))
}
