/** The proxies of a node as its configuration has them. */
import { openSync } from 'node:fs'
import { getCompileCacheDir } from 'node:module'
import { join } from 'node:path'
import { errorLine, WeirError } from '#base'
import { PROXY_LIMITS_DEFAULT } from '#contract'
import type { AgentConfig } from '../config.ts'
import type { AgentLog } from '../log.ts'
import type { MeshState } from '../mesh-state.ts'
import type { SpanDesk } from '../tracing/span-desk.ts'
import { ProxyPool } from './proxy-pool.ts'

const PROXY_MAIN = join(import.meta.dirname, '../../src/proxy/main.ts')

export interface ProxyPoolParts {
  readonly config: AgentConfig
  readonly world: MeshState
  readonly log: AgentLog
  readonly spans: SpanDesk | undefined
}

/** @throws when the access log cannot be opened */
export function createProxyPool({ config, world, log, spans }: ProxyPoolParts): ProxyPool {
  const { tracing } = config
  return new ProxyPool({
    count: config.proxies,
    mainPath: PROXY_MAIN,
    uid: config.proxyUid,
    compileCacheDir: getCompileCacheDir() ?? join(config.stateDir, 'compile-cache'),
    output: openAccessLog(config.accessLog),
    world,
    log,
    settings: (proxyId) => ({
      proxyId,
      node: config.node,
      trustDomain: config.trustDomain,
      accessLog: config.accessLog === 'off' ? 'off' : 'stdout',
      metrics: config.metrics ? 'on' : 'off',
      limits: { ...PROXY_LIMITS_DEFAULT, ...config.limits },
      dns: config.dns,
      outboundTrafficPolicy: config.outboundTrafficPolicy,
      ...(tracing === undefined ? {} : { tracing: tracing.settings }),
    }),
    onSpans: spans && ((count, batch) => spans.take(count, batch)),
  })
}

/** Opened here, because the proxies may open nothing. Appended to: rotate it by copying and truncating. */
function openAccessLog(target: string): number | 'inherit' {
  if (target === 'stdout' || target === 'off') return 'inherit'
  try {
    return openSync(target, 'a', 0o640)
  } catch (thrown) {
    throw new WeirError(
      'WEIR_AGENT_ACCESS_LOG',
      `Cannot open the access log ${target} (--access-log): ${errorLine(thrown)}`,
    )
  }
}
