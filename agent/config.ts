/** The agent's command line, put together of its subjects: every mistake in it is told at once. */
import { ADMIN, type AdminSettings } from './config/admin.ts'
import { CNI, type CniSettings } from './config/cni.ts'
import { EGRESS, type EgressSettings } from './config/egress.ts'
import type { Flags, Subject } from './config/flag.ts'
import { readArguments } from './config/given.ts'
import { IDENTITY, type IdentitySettings } from './config/identity.ts'
import { LIFE, type LifeSettings } from './config/life.ts'
import { type LimitSettings, PROXY_LIMITS } from './config/limits.ts'
import { LOGS, type LogsSettings } from './config/logs.ts'
import { LOOKING, type LookingSettings } from './config/looking.ts'
import { PROXIES, type ProxiesSettings } from './config/proxies.ts'
import { renderFlags } from './config/render-flags.ts'
import { SOURCE, type SourceSettings } from './config/source.ts'
import { TAP, type TapSettings } from './config/tap.ts'
import { TRACING, type TracingSettings } from './config/tracing.ts'

export interface AgentConfig
  extends SourceSettings,
    CniSettings,
    IdentitySettings,
    EgressSettings,
    ProxiesSettings,
    AdminSettings,
    LifeSettings,
    LogsSettings,
    LookingSettings,
    TracingSettings,
    LimitSettings {
  readonly tap: TapSettings
}

/** As --help tells of them; the limits come last, under a heading of their own. */
const SUBJECTS: readonly Subject<unknown>[] = [
  SOURCE,
  CNI,
  IDENTITY,
  EGRESS,
  PROXIES,
  ADMIN,
  LIFE,
  LOGS,
  TAP,
  LOOKING,
  TRACING,
  PROXY_LIMITS,
]

/** All that there are, by name. */
export const AGENT_FLAGS: Flags = Object.assign({}, ...SUBJECTS.map(({ flags }) => flags))

export function agentUsage(): string {
  const others = SUBJECTS.filter((subject) => subject !== PROXY_LIMITS).map(({ flags }) => renderFlags(flags, 24))
  return [
    'weir agent --node NAME (--manifests DIR | --kubernetes) [options]',
    ...others,
    'Limits of each proxy:',
    renderFlags(PROXY_LIMITS.flags, 34),
  ].join('\n')
}

export type ParsedConfig =
  | { readonly kind: 'config'; readonly config: AgentConfig }
  | { readonly kind: 'help' }
  | { readonly kind: 'errors'; readonly errors: readonly string[] }

/** @param args what follows `weir agent` */
export function parseAgentArguments(args: readonly string[]): ParsedConfig {
  const found = readArguments(AGENT_FLAGS, args)
  if (found.kind === 'help') return found
  const { given } = found
  const errors = [...found.errors, ...SUBJECTS.flatMap((subject) => subject.wrong?.(given) ?? [])]
  if (errors.length > 0) return { kind: 'errors', errors }
  const config: AgentConfig = {
    ...SOURCE.read(given),
    ...CNI.read(given),
    ...IDENTITY.read(given),
    ...EGRESS.read(given),
    ...PROXIES.read(given),
    ...ADMIN.read(given),
    ...LIFE.read(given),
    ...LOGS.read(given),
    ...TAP.read(given),
    ...LOOKING.read(given),
    ...TRACING.read(given),
    ...PROXY_LIMITS.read(given),
  }
  return { kind: 'config', config }
}
