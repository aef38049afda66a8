/** Alerts: rules that users write, and what becomes of them look after look. Pure; loaded only where there are rules. */
export { AlertOutbox, type OutboxGroup, type OutboxMessage } from './alert-outbox.ts'
export type { AlertReceiver, AlertRule, AlertsFile } from './alert-rule.ts'
export { type Advanced, type Alert, advanceAlerts, alertKey, type Ended } from './alert-states.ts'
export { apiMessage, type ToldAlert, webhookMessage } from './alertmanager-message.ts'
export { needsOwnFamilies, RuleJudge } from './judge-rules.ts'
export { type ParsedAlerts, parseAlerts } from './parse-alerts.ts'
export { describeRule } from './say-alert.ts'
