/** Alerts of this node: rules from a file, judged at each look, told to whoever is to be told. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { errorLine } from '#base'
import type { AlertAnswer, AlertsAnswer, MetricFamily } from '#contract'
import {
  type Alert,
  AlertOutbox,
  type AlertRule,
  type AlertsFile,
  advanceAlerts,
  describeRule,
  needsOwnFamilies,
  RuleJudge,
  type ToldAlert,
} from '#observer/alerts'
import type { Problem } from '../../admin/backend.ts'
import type { AgentLog } from '../../log.ts'
import type { LookTold } from '../watch.ts'
import { AlertStore, loadAlerts, type StoredAlerts } from './alert-store.ts'
import { Deliverer } from './deliverer.ts'
import { RulesFile } from './rules-file.ts'

export interface AlertDeskOptions {
  readonly file: string
  readonly stateDir: string
  readonly node: string
  readonly log: AgentLog
  /** All that `/metrics` tells; asked only where a rule looks at it. */
  families(): Promise<readonly MetricFamily[]>
}

export class AlertDesk implements AsyncDisposable {
  readonly #options: AlertDeskOptions
  readonly #rulesFile: RulesFile
  readonly #store: AlertStore
  readonly #outbox: AlertOutbox
  readonly #deliverer: Deliverer
  #inForce: AlertsFile = { webhook: undefined, rules: [] }
  #judge: RuleJudge | undefined
  #needsFamilies = false
  #alerts: ReadonlyMap<string, Alert>
  #toldTo: string
  #storeProblem = ''
  #leftOut = 0
  #looking = false
  #ended = false

  /** Reads the rules, and what the agent before left. */
  static async open(options: AlertDeskOptions): Promise<AlertDesk> {
    const path = join(options.stateDir, 'alerts.json')
    const stored = await loadAlerts(path, Date.now())
    const desk = new AlertDesk(options, path, stored)
    await desk.#rulesFile.look()
    return desk
  }

  private constructor(options: AlertDeskOptions, path: string, stored: StoredAlerts) {
    const { log, file } = options
    this.#options = options
    this.#alerts = stored.alerts
    this.#toldTo = stored.to
    const outbox = new AlertOutbox(stored.groups)
    this.#outbox = outbox
    this.#store = new AlertStore(path, (problem) => {
      this.#storeProblem = problem
    })
    this.#deliverer = new Deliverer({
      outbox,
      onDelivered: () => void this.#save(),
      onTrouble: (why) => {
        if (why === '') log.info({ to: this.#to }, 'alerts delivered again')
        else log.warn({ to: this.#to, why }, 'alerts not delivered')
      },
    })
    this.#rulesFile = new RulesFile({
      file,
      onRules: (alertsFile) => this.#take(alertsFile),
      onProblems: (lines) => {
        for (const problem of lines) log.warn({ file, problem }, 'alert rules not read')
      },
    })
  }

  /** Returns at once. */
  look(told: LookTold): void {
    if (this.#looking || this.#ended) return
    this.#looking = true
    this.#look(told)
      .catch((thrown: unknown) => this.#options.log.warn({ err: thrown }, 'alerts not judged'))
      .finally(() => {
        this.#looking = false
      })
  }

  answer(): AlertsAnswer {
    const { node, file } = this.#options
    const { webhook, rules } = this.#inForce
    const told = new Set(this.#outbox.groups.flatMap((group) => Object.values(group.told).map(keyOfTold)))
    const all = [...this.#alerts.values()]
    const count = (name: string, phase: Alert['phase']) =>
      all.filter((alert) => alert.rule === name && alert.phase === phase).length
    const answers = all.flatMap((alert): AlertAnswer[] => {
      const rule = this.#rule(alert.rule)
      if (rule === undefined) return []
      const { phase, clearSinceMs, subject: _, rule: name, knownMs: __, ...rest } = alert
      const labels = labelsOf(rule, alert, node)
      const state = clearSinceMs === undefined ? phase : 'clearing'
      const isTold = told.has(keyOfTold({ labels, startsAtMs: alert.sinceMs }))
      return [{ ...rest, rule: name, severity: rule.severity, state, labels, told: isTold }]
    })
    const order = { firing: 0, clearing: 1, pending: 2 }
    return {
      node,
      file,
      readMs: this.#rulesFile.readMs,
      rules: rules.map((rule) => ({
        name: rule.name,
        severity: rule.severity,
        says: describeRule(rule),
        pending: count(rule.name, 'pending'),
        firing: count(rule.name, 'firing'),
      })),
      alerts: answers.sort((a, b) => order[a.state] - order[b.state] || a.sinceMs - b.sinceMs),
      ...(webhook === undefined
        ? {}
        : {
            delivery: {
              to: this.#to,
              format: webhook.format,
              deliveredMs: this.#deliverer.deliveredMs,
              waiting: this.#outbox.due(Date.now(), webhook.repeatEveryMs).length,
              problem: this.#deliverer.problem,
              failingSinceMs: this.#deliverer.failingSinceMs,
            },
          }),
    }
  }

  problems(): readonly Problem[] {
    const subject = `Alert rules ${this.#options.file}`
    const inForce =
      this.#rulesFile.readMs === 0 ? 'no rule is in force until it is mended' : 'the rules read before stay in force'
    const error = (message: string, remedy = ''): Problem => ({ severity: 'error', subject, message, remedy })
    const { problem, failingSinceMs } = this.#deliverer
    return [
      ...this.#rulesFile.problems.map((message) => error(message, inForce)),
      ...(problem === ''
        ? []
        : [
            error(
              `alerts do not reach ${this.#to} since ${new Date(failingSinceMs).toISOString()}: ${problem}`,
              'they are kept, and tried again within a minute; see webhook in that file',
            ),
          ]),
      ...(this.#leftOut > 0 ? [error(`${this.#leftOut} more alerts are not raised: too many at a time`)] : []),
      ...(this.#storeProblem === '' ? [] : [error(this.#storeProblem, 'after a restart alerts would begin anew')]),
    ]
  }

  families(): readonly MetricFamily[] {
    const severities = ['critical', 'warning', 'info'] as const
    const firing = [...this.#alerts.values()].filter(({ phase }) => phase === 'firing')
    return [
      {
        name: 'weir_alerts_firing',
        help: 'Alerts of this node that fire.',
        type: 'gauge',
        series: severities.map((severity) => ({
          labels: { severity },
          values: [firing.filter(({ rule }) => this.#rule(rule)?.severity === severity).length],
        })),
      },
      {
        name: 'weir_alert_deliveries_total',
        help: 'Tries to tell the receiver of alerts, by what became of them.',
        type: 'counter',
        series: Object.entries(this.#deliverer.counts).map(([outcome, count]) => ({
          labels: { outcome },
          values: [count],
        })),
      },
    ]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    this.#rulesFile[Symbol.dispose]()
    this.#deliverer[Symbol.dispose]()
    await this.#save()
  }

  get #to(): string {
    const { webhook } = this.#inForce
    return webhook === undefined ? '' : new URL(webhook.url).origin
  }

  #rule(name: string): AlertRule | undefined {
    return this.#inForce.rules.find((rule) => rule.name === name)
  }

  #take(alerts: AlertsFile): void {
    const { log, node, file } = this.#options
    this.#inForce = alerts
    this.#judge = new RuleJudge(node, alerts.rules)
    this.#needsFamilies = needsOwnFamilies(alerts.rules)
    log.info({ file, rules: alerts.rules.length, to: this.#to }, 'alert rules read')
    const { webhook } = alerts
    if (webhook !== undefined) {
      // The URL may be a secret, and is not written down.
      const to = createHash('sha256').update(webhook.url).digest('hex')
      if (to !== this.#toldTo) this.#outbox.forgetTold()
      this.#toldTo = to
    }
    this.#deliverer.setReceiver(webhook)
  }

  async #look({ traffic, families, findings }: LookTold): Promise<void> {
    await this.#rulesFile.look()
    const judge = this.#judge
    if (judge === undefined) return
    const all = this.#needsFamilies ? await this.#options.families() : families
    if (this.#ended || judge !== this.#judge) return
    const nowMs = Date.now()
    const judged = judge.judge({ atMs: traffic.atMs, nowMs, families: all, findings })
    // A rule that has gone is still known here for its last word.
    const { alerts, fired, ended, leftOut } = advanceAlerts(this.#alerts, judged, nowMs)
    this.#alerts = alerts
    this.#leftOut = leftOut
    for (const { rule, subject, summary } of fired) this.#options.log.warn({ rule, subject, summary }, 'alert fires')
    for (const { alert, because } of ended) {
      const { rule, subject } = alert
      this.#options.log.info({ rule, subject, ...(because === undefined ? {} : { because }) }, 'alert resolved')
    }
    // Where nobody is to be told, no messages wait.
    if (this.#inForce.webhook === undefined) {
      void this.#save()
      return
    }
    const firing = [...alerts.values()].filter(({ phase }) => phase === 'firing')
    this.#outbox.update(
      firing.flatMap((alert) => this.#toldOf(alert, undefined)),
      ended.flatMap(({ alert, endedMs }) => this.#toldOf(alert, endedMs)),
      nowMs,
    )
    void this.#save()
    this.#deliverer.kick()
  }

  /** None where the rule has gone: what was told of it ends in the outbox. */
  #toldOf(alert: Alert, endsAtMs: number | undefined): readonly ToldAlert[] {
    const rule = this.#rule(alert.rule)
    if (rule === undefined) return []
    return [
      {
        status: endsAtMs === undefined ? 'firing' : 'resolved',
        labels: labelsOf(rule, alert, this.#options.node),
        annotations: { summary: alert.summary, next: alert.next, ...rule.annotations },
        startsAtMs: alert.sinceMs,
        endsAtMs,
      },
    ]
  }

  async #save(): Promise<void> {
    try {
      await this.#store.save({ to: this.#toldTo, alerts: this.#alerts, groups: this.#outbox.groups })
    } catch (thrown) {
      this.#storeProblem = errorLine(thrown)
    }
  }
}

function labelsOf({ name, severity, labels }: AlertRule, alert: Alert, node: string): Readonly<Record<string, string>> {
  // Empty labels are no labels to Prometheus and those who follow it.
  const all = { ...labels, alertname: name, severity, node, ...alert.labels }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''))
}

function keyOfTold({ labels, startsAtMs }: Pick<ToldAlert, 'labels' | 'startsAtMs'>): string {
  return `${startsAtMs} ${JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))}`
}
