/** The agent's command line: every mistake in it is told at once. */
import { availableParallelism } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import {
  ADMIN_DEFAULT,
  type DnsSettings,
  type OutboundTrafficPolicy,
  PROXY_LIMITS_DEFAULT,
  type ProxyLimits,
  STATE_DIR_DEFAULT,
  TRUST_DOMAIN_DEFAULT,
  type TracingSettings,
} from '#contract'
import { nearestName } from '#schema'
import { parsePeers } from './admin/peer-addresses.ts'
import { CRI_SOCKETS_DEFAULT } from './cri/netns-lookup.ts'
import { nodeNameServers, parseNameServers } from './dns-upstreams.ts'
import type { IssuerConfig } from './identity/open-issuer.ts'
import { LOG_LEVELS, type LogLevel } from './log.ts'

/** Where the objects of the mesh come from. */
export type SourceConfig =
  | { readonly kind: 'directory'; readonly directory: string }
  /** `kubeconfig` undefined: as a pod of the cluster. */
  | { readonly kind: 'kubernetes'; readonly kubeconfig: string | undefined }

/** What the agent and the CNI plugin have to do with each other. */
export interface CniConfig {
  /** Where the plugin asks; undefined: nowhere. */
  readonly socket: string | undefined
  /** The node's network configuration; undefined: the agent has no business there. */
  readonly confDir: string | undefined
  /** Where the node's plugins are; undefined: ours is not installed. */
  readonly binDir: string | undefined
  /** The executable that is installed. */
  readonly plugin: string
}

export interface AgentConfig {
  readonly node: string
  readonly source: SourceConfig
  readonly stateDir: string
  readonly cni: CniConfig
  /** Sockets of container runtimes, the likeliest first. */
  readonly criSockets: readonly string[]
  readonly trustDomain: string
  readonly proxies: number
  /** Undefined: no TCP address, the socket in the state directory only. */
  readonly admin: string | undefined
  readonly adminAccess: AdminSettings
  readonly keepRules: boolean
  /** Where another agent runs on the state directory: take over from it, instead of ending. */
  readonly takeOver: boolean
  readonly accessLog: string
  /** Requests and connections are counted. */
  readonly metrics: boolean
  readonly proxyUid: number
  readonly logLevel: LogLevel
  /** Who signs for this node's identities. */
  readonly issuer: IssuerConfig
  readonly certTtlMs: number
  readonly dns: DnsSettings
  readonly outboundTrafficPolicy: OutboundTrafficPolicy
  /** Of the CA that is asked; a CA's directory has one of its own. */
  readonly revocationFile: string | undefined
  /** Those of the proxies' limits that were given. */
  readonly limits: Partial<ProxyLimits>
  readonly logs: LogsSettings
  /** From one look at the node to the next. */
  readonly lookMs: number
  /** Rules of alerts; undefined: none. */
  readonly alertsFile: string | undefined
  readonly tap: TapSettings
  /** Undefined: nothing is traced. */
  readonly tracing: TraceConfig | undefined
}

/** Live requests and connections. */
export interface TapSettings {
  readonly enabled: boolean
  /** Header fields of which no value is told, besides those of which none ever is; in lower case, with dashes. */
  readonly redact: readonly string[]
  readonly showQueries: boolean
}

/** Who may ask at an address that is not loopback, and whom this agent asks in turn. */
export interface AdminSettings {
  /** Undefined: one in the state directory, which is made. */
  readonly tokenFile: string | undefined
  readonly protectMetrics: boolean
  /** Name → `HOST:PORT`; `cluster`: the other agents of the cluster, by their pods. */
  readonly peers: Readonly<Record<string, string>> | 'cluster'
  /** What they are shown; undefined: the token that is asked for here. */
  readonly peerTokenFile: string | undefined
}

export interface TraceConfig {
  /** Of an OpenTelemetry collector, such as http://collector:4318/v1/traces. */
  readonly url: string
  readonly settings: TracingSettings
}

/** The pods' logs. */
export interface LogsSettings {
  readonly which: 'enrolled' | 'all' | 'off'
  readonly root: string
  /** Last lines of pods that are gone. */
  readonly keepMs: number
  readonly keepMib: number
  /** Undefined: not shipped to a file. */
  readonly file: string | undefined
  readonly fileMib: number
  readonly files: number
  /** Undefined: not shipped to a collector. */
  readonly otlpUrl: string | undefined
}

const LIMIT_FLAGS: Readonly<Record<string, { readonly limit: keyof ProxyLimits; readonly says: string }>> = {
  'max-head-bytes': { limit: 'maxHeadBytes', says: 'largest request or response head, bytes' },
  'max-headers': { limit: 'maxHeaders', says: 'header lines of a head' },
  'head-timeout-ms': { limit: 'headTimeoutMs', says: 'from the first byte of a head to its last' },
  'body-idle-timeout-ms': { limit: 'bodyIdleTimeoutMs', says: 'silence inside a body' },
  'client-idle-timeout-ms': { limit: 'clientIdleTimeoutMs', says: 'client connection without a request' },
  'upstream-idle-timeout-ms': { limit: 'upstreamIdleTimeoutMs', says: 'pooled upstream connection' },
  'connect-timeout-ms': { limit: 'connectTimeoutMs', says: 'connecting upstream' },
  'tcp-idle-timeout-ms': { limit: 'tcpIdleTimeoutMs', says: 'opaque connection without a byte; 0 for never' },
  'max-connections-per-pod': { limit: 'maxConnectionsPerPod', says: 'connections one pod may hold' },
  'max-requests-per-pod': { limit: 'maxRequestsPerPod', says: 'requests in flight of one pod' },
  'shed-lag-ms': { limit: 'shedLagMs', says: 'event loop lag at which new requests get 503; 0 for never' },
  'resume-lag-ms': { limit: 'resumeLagMs', says: 'event loop lag below which they are taken again' },
}

const LOOK_MS_DEFAULT = 10_000
const TRACE_SAMPLE_DEFAULT = '0.01'
const TRACE_SLOW_DEFAULT = '1s'
const CLUSTER_PEERS = 'cluster'
const LOG_ROOT_DEFAULT = '/var/log/pods'
const PLUGIN_DEFAULT = join(import.meta.dirname, '../dist/weir-cni')

export const AGENT_USAGE = `weir agent --node NAME (--manifests DIR | --kubernetes) [options]
  --node NAME           this node, as in the pods' spec.nodeName
  --manifests DIR       directory of Kubernetes YAML, followed live
  --kubernetes          follow the objects of the cluster
  --kubeconfig FILE     with --kubernetes: how to reach the API server; default: as a pod of the cluster does
  --state-dir DIR       default ${STATE_DIR_DEFAULT}
  --cni-conf-dir DIR    the node's network configuration, as /etc/cni/net.d: what the CNI plugin goes by while the agent
                        is away is written there
  --cni-bin-dir DIR     with --cni-conf-dir: put the CNI plugin there, as /opt/cni/bin, and chain it into the configuration
  --cni-plugin FILE     the executable to install; default ${PLUGIN_DEFAULT}
  --cni-socket PATH     where the CNI plugin asks this agent, or none; default STATE-DIR/cni.sock
  --cri-socket PATH[,PATH]
                        sockets of container runtimes, to find pods that were there first; default
                        ${CRI_SOCKETS_DEFAULT.join(',')}
  --trust-domain NAME   default ${TRUST_DOMAIN_DEFAULT}
  --ca-dir DIR          sign identities with the CA in DIR (made when empty); without it and --ca: one in memory
  --ca HOST:PORT        let a CA sign them (weir ca, istiod); with --ca-root FILE (its roots, PEM)
                        and --join-token FILE (what this node proves itself with)
  --ca-crl FILE         with --ca: revoked certificates (PEM), followed live: the CA's DIR/ca-crl.pem, which weir ca makes,
                        or weir ca revoke --ca-dir DIR; with --ca-dir its own is followed
  --cert-ttl DURATION   how long certificates last, e.g. 24h (default); renewed at half of it
  --dns-upstream ADDR[,ADDR]
                        name servers (ADDR or ADDR:PORT) for what pods ask beyond the mesh's own names; default
                        the Service kube-system/kube-dns, or else the name servers of this node's resolv.conf
  --outbound-traffic-policy ALLOW_ANY|REGISTRY_ONLY
                        whether pods may call what is not declared (Services, pods, ServiceEntries); default ALLOW_ANY
  --proxies N           proxy processes; default half the processors, at least 1
  --admin ADDR|none     the page and what it asks, read-only; default ${ADMIN_DEFAULT}. Another address than loopback
                        asks for a token, but at /healthz/* and /metrics
  --admin-token-file FILE
                        that token, one line; default STATE-DIR/admin-token, which is made
  --admin-protect-metrics
                        ask for it at /metrics too
  --admin-peers [NAME=]HOST:PORT[,…]|cluster
                        agents of other nodes, which the page shows through this one; cluster, with --kubernetes: those of
                        this agent's namespace, at the same port
  --admin-peer-token-file FILE
                        the token they are shown; default the same as is asked for here
  --access-log WHERE    stdout (default), off, or a file
  --metrics on|off      count requests and connections; default on
  --proxy-uid N         user and group that proxies run as; default 1337
  --keep-rules          leave the rules in place on exit, for an upgrade
  --take-over           if another agent runs with the same state directory: wait beside it, ready, and go on with its
                        pods, sockets included, when it is told to end
  --log-level LEVEL     ${LOG_LEVELS.join(', ')}; default info
  --logs WHICH          logs of which pods of the node can be read and are shipped: enrolled (default), all, or off
  --log-root DIR        where the kubelet has them; default ${LOG_ROOT_DEFAULT}
  --log-keep DURATION   how long the last lines of pods that are gone are kept; default 1h, 0s for not at all
  --log-keep-mib N      for all of them together, in the state directory; default 16
  --log-file FILE       append all lines to FILE as JSON; rotated by size
  --log-file-mib N      size at which it is; default 64
  --log-files N         files in all: FILE, FILE.1, …; default 5
  --log-otlp URL        send all lines to an OpenTelemetry collector, as http://collector:4318/v1/logs
  --tap on|off          whether live requests and connections can be looked at (weir tap); default on
  --tap-redact NAME[,NAME]
                        header fields of which it shows no value, besides authorization, cookies and others that sound
                        like secrets, of which it never does
  --tap-query hide|show whether it shows query strings; default hide
  --look-ms N           how often weir diagnose looks for what is wrong; default ${LOOK_MS_DEFAULT}
  --alerts FILE         rules of alerts (YAML, docs/alerts.md), followed live
  --trace-otlp URL      send spans of requests to an OpenTelemetry collector, as http://collector:4318/v1/traces
  --trace-sample SHARE  with --trace-otlp: share of the traces that begin here, 0 to 1; default ${TRACE_SAMPLE_DEFAULT}. Callers who
                        begin one decide themselves
  --trace-tail on|off   with --trace-otlp: send errors and slow requests of other traces, too; default on
  --trace-slow DURATION with --trace-otlp: what is slow, e.g. 250ms; default ${TRACE_SLOW_DEFAULT}
Limits of each proxy:
${Object.entries(LIMIT_FLAGS)
  .map(([name, { limit, says }]) => `  --${`${name} N`.padEnd(30)}${says}; default ${PROXY_LIMITS_DEFAULT[limit]}`)
  .join('\n')}`

interface Flag {
  readonly default?: string
  /** May be left out; it is then empty. */
  readonly optional?: true
  /** What is wrong with a value; undefined when nothing is. */
  readonly wrong: (value: string) => string | undefined
}

const anyText = (value: string) => (value === '' ? 'must not be empty' : undefined)
const matching = (pattern: RegExp, expected: string) => (value: string) =>
  pattern.test(value) ? undefined : `expected ${expected}, got ${JSON.stringify(value)}`
const between = (least: number, most: number) => (value: string) =>
  /^\d{1,9}$/.test(value) && Number(value) >= least && Number(value) <= most
    ? undefined
    : `expected a number from ${least} to ${most}, got ${JSON.stringify(value)}`

/** As `sockaddr_un` has it, unix(7). */
const MAX_SOCKET_PATH_BYTES = 107
const socketPath = (value: string) => {
  const tooLong = Buffer.byteLength(resolve(value)) > MAX_SOCKET_PATH_BYTES
  return tooLong ? `must not be longer than ${MAX_SOCKET_PATH_BYTES} bytes as an absolute path` : anyText(value)
}

const FLAGS: Record<string, Flag> = {
  node: { wrong: matching(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'a node name (lower case, digits, - and .)') },
  manifests: { optional: true, wrong: anyText },
  kubeconfig: { optional: true, wrong: anyText },
  'cni-conf-dir': { optional: true, wrong: anyText },
  'cni-bin-dir': { optional: true, wrong: anyText },
  'cni-plugin': { default: PLUGIN_DEFAULT, wrong: anyText },
  'cni-socket': { optional: true, wrong: socketPath },
  'cri-socket': { default: CRI_SOCKETS_DEFAULT.join(','), wrong: anyText },
  'state-dir': { default: STATE_DIR_DEFAULT, wrong: anyText },
  'trust-domain': {
    default: TRUST_DOMAIN_DEFAULT,
    wrong: matching(/^[a-z0-9._-]{1,255}$/, 'a trust domain such as cluster.local'),
  },
  'ca-dir': { optional: true, wrong: anyText },
  ca: { optional: true, wrong: matching(/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/, 'HOST:PORT') },
  'ca-root': { optional: true, wrong: anyText },
  'join-token': { optional: true, wrong: anyText },
  'ca-crl': { optional: true, wrong: anyText },
  'cert-ttl': {
    default: '24h',
    wrong: (value) => {
      const ms = durationMs(value)
      return ms !== undefined && ms >= MIN_CERT_TTL_MS && ms <= MAX_CERT_TTL_MS
        ? undefined
        : `expected a duration from 5s to 720h such as 24h, got ${JSON.stringify(value)}`
    },
  },
  'dns-upstream': {
    optional: true,
    wrong: (value) =>
      parseNameServers(value) === undefined
        ? `expected IP addresses such as 10.96.0.10 or [fd96::a]:53, separated by commas, got ${JSON.stringify(value)}`
        : undefined,
  },
  'outbound-traffic-policy': {
    default: 'ALLOW_ANY',
    wrong: matching(/^(ALLOW_ANY|REGISTRY_ONLY)$/, 'ALLOW_ANY or REGISTRY_ONLY'),
  },
  proxies: { default: String(Math.max(1, Math.floor(availableParallelism() / 2))), wrong: between(1, 64) },
  admin: {
    default: ADMIN_DEFAULT,
    wrong: matching(/^(none|\[[0-9a-fA-F:.]+\]:\d{1,5}|[\w.-]+:\d{1,5})$/, 'HOST:PORT or none'),
  },
  'access-log': { default: 'stdout', wrong: anyText },
  metrics: { default: 'on', wrong: matching(/^(on|off)$/, 'on or off') },
  'proxy-uid': { default: '1337', wrong: between(1, 999_999_999) },
  'log-level': {
    default: 'info',
    wrong: (value) =>
      isLogLevel(value) ? undefined : `expected one of ${LOG_LEVELS.join(', ')}, got ${JSON.stringify(value)}`,
  },
}

Object.assign(FLAGS, {
  'admin-token-file': { optional: true, wrong: anyText },
  'admin-peers': {
    optional: true,
    wrong: (value) =>
      value !== CLUSTER_PEERS && parsePeers(value) === undefined
        ? `expected addresses such as node-2=10.0.0.2:15000, separated by commas, each name once, got ${JSON.stringify(value)}`
        : undefined,
  },
  'admin-peer-token-file': { optional: true, wrong: anyText },
  logs: { default: 'enrolled', wrong: matching(/^(enrolled|all|off)$/, 'enrolled, all or off') },
  'log-root': { default: LOG_ROOT_DEFAULT, wrong: anyText },
  'log-keep': {
    default: '1h',
    wrong: (value) =>
      (durationMs(value) ?? Number.POSITIVE_INFINITY) <= MAX_LOG_KEEP_MS
        ? undefined
        : `expected a duration from 0s to 720h such as 1h, got ${JSON.stringify(value)}`,
  },
  'log-keep-mib': { default: '16', wrong: between(0, 100_000) },
  'log-file': { optional: true, wrong: anyText },
  'log-file-mib': { default: '64', wrong: between(1, 100_000) },
  'look-ms': { default: String(LOOK_MS_DEFAULT), wrong: between(100, 600_000) },
  alerts: { optional: true, wrong: anyText },
  'log-files': { default: '5', wrong: between(1, 1000) },
  'log-otlp': {
    optional: true,
    wrong: matching(/^https?:\/\/[^\s/]+\/\S*$/, 'a URL with its path such as http://collector:4318/v1/logs'),
  },
  tap: { default: 'on', wrong: matching(/^(on|off)$/, 'on or off') },
  'tap-redact': {
    optional: true,
    wrong: matching(/^[\w!#$%&'*+.^`|~-]+(,[\w!#$%&'*+.^`|~-]+)*$/, 'names of header fields, separated by commas'),
  },
  'tap-query': { default: 'hide', wrong: matching(/^(hide|show)$/, 'hide or show') },
  'trace-otlp': {
    optional: true,
    wrong: matching(/^https?:\/\/[^\s/]+\/\S*$/, 'a URL with its path such as http://collector:4318/v1/traces'),
  },
  'trace-sample': {
    optional: true,
    wrong: matching(/^(0|1|0?\.\d{1,12}|1\.0{1,12})$/, 'a share from 0 to 1 such as 0.01'),
  },
  'trace-tail': { optional: true, wrong: matching(/^(on|off)$/, 'on or off') },
  'trace-slow': {
    optional: true,
    wrong: (value) =>
      (slowMs(value) ?? 0) > 0 ? undefined : `expected a duration such as 250ms or 2s, got ${JSON.stringify(value)}`,
  },
} satisfies Record<string, Flag>)

for (const [name, { limit }] of Object.entries(LIMIT_FLAGS)) {
  FLAGS[name] = {
    default: String(PROXY_LIMITS_DEFAULT[limit]),
    wrong: between(limit === 'tcpIdleTimeoutMs' || limit === 'shedLagMs' ? 0 : 1, 999_999_999),
  }
}

/** Flags without a value. */
const SWITCHES: ReadonlySet<string> = new Set([
  '--admin-protect-metrics',
  '--keep-rules',
  '--kubernetes',
  '--take-over',
])

const KNOWN: readonly string[] = [...SWITCHES, ...Object.keys(FLAGS).map((name) => `--${name}`)]

const EXAMPLES: Readonly<Record<string, string>> = {
  node: '--node node-1',
  'ca-root': '--ca-root ./root-cert.pem',
  'join-token': '--join-token ./join-token',
}

export type ParsedConfig =
  | { readonly kind: 'config'; readonly config: AgentConfig }
  | { readonly kind: 'help' }
  | { readonly kind: 'errors'; readonly errors: readonly string[] }

/** @param args what follows `weir agent` */
export function parseAgentArguments(args: readonly string[]): ParsedConfig {
  const values = new Map<string, string>()
  const errors: string[] = []
  const switches = new Set<string>()
  for (let i = 0; i < args.length; i++) {
    const argument = args[i] ?? ''
    if (argument === '--help' || argument === '-h') return { kind: 'help' }
    const equals = argument.indexOf('=')
    const name = argument.slice(2, equals < 0 ? undefined : equals)
    if (SWITCHES.has(argument)) {
      switches.add(argument)
      continue
    }
    const flag = argument.startsWith('--') && Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined
    if (flag === undefined) {
      const written = equals < 0 ? argument : argument.slice(0, equals)
      const near = argument.startsWith('--') ? nearestName(written, KNOWN) : undefined
      const rest = near === undefined ? '; see' : `; did you mean ${near}? See`
      errors.push(`Unknown argument ${argument}${rest} weir agent --help.`)
      // Its value was meant for the other one, which is not told as missing too.
      if (near === undefined || SWITCHES.has(near)) continue
      values.set(near.slice(2), equals < 0 ? (args[++i] ?? '') : argument.slice(equals + 1))
      continue
    }
    const value = equals >= 0 ? argument.slice(equals + 1) : args[++i]
    const wrong = value === undefined ? 'needs a value' : flag.wrong(value)
    if (wrong !== undefined) errors.push(`--${name}: ${wrong}.`)
    else if (values.has(name)) errors.push(`--${name}: given twice.`)
    values.set(name, value ?? '')
  }
  for (const [name, flag] of Object.entries(FLAGS)) {
    if (values.has(name)) continue
    if (flag.default !== undefined) values.set(name, flag.default)
    else if (flag.optional !== true)
      errors.push(`--${name}: missing; give it as ${EXAMPLES[name] ?? `--${name} VALUE`} (see weir agent --help).`)
  }
  const kubernetes = switches.has('--kubernetes')
  if (kubernetes === values.has('manifests')) {
    errors.push(
      kubernetes
        ? '--manifests: not together with --kubernetes; keep one of them.'
        : '--manifests: missing; give it as --manifests ./manifests, or --kubernetes in a cluster (see weir agent --help).',
    )
  }
  if (values.has('kubeconfig') && !kubernetes) errors.push('--kubeconfig: only with --kubernetes.')
  if (values.has('cni-bin-dir') && !values.has('cni-conf-dir')) {
    errors.push('--cni-conf-dir: needed with --cni-bin-dir; give it as --cni-conf-dir /etc/cni/net.d.')
  }
  if (values.has('ca') && values.has('ca-dir')) errors.push('--ca-dir: not together with --ca; keep one of them.')
  for (const name of ['ca-root', 'join-token']) {
    if (values.has('ca') && !values.has(name))
      errors.push(`--${name}: needed with --ca; give it as ${EXAMPLES[name]} (see weir agent --help).`)
    if (values.has(name) && !values.has('ca')) errors.push(`--${name}: only with --ca.`)
  }
  for (const name of ['log-file', 'log-otlp']) {
    if (values.has(name) && values.get('logs') === 'off')
      errors.push(`--${name}: not together with --logs off; keep one of them.`)
  }
  if (values.get('admin-peers') === CLUSTER_PEERS && !kubernetes) {
    errors.push('--admin-peers: cluster is only for --kubernetes; give addresses such as node-2=10.0.0.2:15000.')
  }
  if (values.has('admin-peer-token-file') && !values.has('admin-peers')) {
    errors.push('--admin-peer-token-file: only with --admin-peers.')
  }
  for (const name of ['trace-sample', 'trace-tail', 'trace-slow']) {
    if (values.has(name) && !values.has('trace-otlp')) errors.push(`--${name}: only with --trace-otlp.`)
  }
  if (values.has('ca-crl') && !values.has('ca')) {
    errors.push('--ca-crl: only with --ca; the CA of --ca-dir DIR has its list in DIR/ca-crl.pem.')
  }
  const shedLagMs = Number(values.get('shed-lag-ms'))
  if (shedLagMs > 0 && Number(values.get('resume-lag-ms')) >= shedLagMs) {
    errors.push(`--resume-lag-ms: must be below --shed-lag-ms (${shedLagMs}): give both.`)
  }
  if (errors.length > 0) return { kind: 'errors', errors }
  return { kind: 'config', config: toConfig((name) => values.get(name) ?? '', switches) }
}

function toConfig(value: (name: string) => string, switches: ReadonlySet<string>): AgentConfig {
  const accessLog = value('access-log')
  const logLevel = value('log-level')
  return {
    node: value('node'),
    source: switches.has('--kubernetes')
      ? { kind: 'kubernetes', kubeconfig: value('kubeconfig') === '' ? undefined : resolve(value('kubeconfig')) }
      : { kind: 'directory', directory: resolve(value('manifests')) },
    stateDir: resolve(value('state-dir')),
    cni: {
      socket:
        value('cni-socket') === 'none' ? undefined : resolve(value('cni-socket') || cniSocketIn(value('state-dir'))),
      confDir: value('cni-conf-dir') === '' ? undefined : resolve(value('cni-conf-dir')),
      binDir: value('cni-bin-dir') === '' ? undefined : resolve(value('cni-bin-dir')),
      plugin: resolve(value('cni-plugin')),
    },
    criSockets: value('cri-socket').split(','),
    trustDomain: value('trust-domain'),
    proxies: Number(value('proxies')),
    admin: value('admin') === 'none' ? undefined : value('admin'),
    adminAccess: {
      tokenFile: value('admin-token-file') === '' ? undefined : resolve(value('admin-token-file')),
      protectMetrics: switches.has('--admin-protect-metrics'),
      peers:
        value('admin-peers') === CLUSTER_PEERS
          ? CLUSTER_PEERS
          : Object.fromEntries(parsePeers(value('admin-peers')) ?? []),
      peerTokenFile: value('admin-peer-token-file') === '' ? undefined : resolve(value('admin-peer-token-file')),
    },
    keepRules: switches.has('--keep-rules'),
    takeOver: switches.has('--take-over'),
    accessLog: accessLog === 'stdout' || accessLog === 'off' || isAbsolute(accessLog) ? accessLog : resolve(accessLog),
    metrics: value('metrics') === 'on',
    proxyUid: Number(value('proxy-uid')),
    logLevel: isLogLevel(logLevel) ? logLevel : 'info',
    issuer: issuerOf(value),
    certTtlMs: durationMs(value('cert-ttl')) ?? 0,
    dns: dnsOf(value('dns-upstream')),
    outboundTrafficPolicy: value('outbound-traffic-policy') === 'REGISTRY_ONLY' ? 'REGISTRY_ONLY' : 'ALLOW_ANY',
    revocationFile: value('ca-crl') === '' ? undefined : resolve(value('ca-crl')),
    limits: Object.fromEntries(Object.entries(LIMIT_FLAGS).map(([name, { limit }]) => [limit, Number(value(name))])),
    logs: logsOf(value),
    lookMs: Number(value('look-ms')),
    alertsFile: value('alerts') === '' ? undefined : resolve(value('alerts')),
    tap: tapOf(value),
    tracing: value('trace-otlp') === '' ? undefined : traceConfigOf(value),
  }
}

function logsOf(value: (name: string) => string): LogsSettings {
  const which = value('logs')
  return {
    which: which === 'all' || which === 'off' ? which : 'enrolled',
    root: resolve(value('log-root')),
    keepMs: durationMs(value('log-keep')) ?? 0,
    keepMib: Number(value('log-keep-mib')),
    file: value('log-file') === '' ? undefined : resolve(value('log-file')),
    fileMib: Number(value('log-file-mib')),
    files: Number(value('log-files')),
    otlpUrl: value('log-otlp') === '' ? undefined : value('log-otlp'),
  }
}

function tapOf(value: (name: string) => string): TapSettings {
  const redact = value('tap-redact').split(',')
  return {
    enabled: value('tap') === 'on',
    redact: redact.filter((name) => name !== '').map((name) => name.toLowerCase().replaceAll('_', '-')),
    showQueries: value('tap-query') === 'show',
  }
}

function traceConfigOf(value: (name: string) => string): TraceConfig {
  return {
    url: value('trace-otlp'),
    settings: {
      sampleRatio: Number(value('trace-sample') || TRACE_SAMPLE_DEFAULT),
      tail: value('trace-tail') === 'off' ? 'off' : 'on',
      slowMs: slowMs(value('trace-slow') || TRACE_SLOW_DEFAULT) ?? 0,
    },
  }
}

function cniSocketIn(stateDir: string): string {
  return join(stateDir, 'cni.sock')
}

function dnsOf(given: string): DnsSettings {
  const upstreams = given === '' ? undefined : parseNameServers(given)
  return { upstreams: upstreams ?? nodeNameServers(), preferCluster: upstreams === undefined }
}

function issuerOf(value: (name: string) => string): IssuerConfig {
  if (value('ca') !== '') {
    const [rootFile, tokenFile] = [resolve(value('ca-root')), resolve(value('join-token'))]
    return { kind: 'remote', address: value('ca'), rootFile, tokenFile, node: value('node') }
  }
  return value('ca-dir') === '' ? { kind: 'memory' } : { kind: 'directory', directory: resolve(value('ca-dir')) }
}

const MIN_CERT_TTL_MS = 5_000
const MAX_CERT_TTL_MS = 720 * 3_600_000
const MAX_LOG_KEEP_MS = 720 * 3_600_000
const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 }

/** `90s`, `30m`, `24h`. */
function durationMs(text: string): number | undefined {
  const [, count = '', unit = ''] = /^(\d{1,7})([smh])$/.exec(text) ?? []
  const unitMs = UNIT_MS[unit]
  return unitMs === undefined ? undefined : Number(count) * unitMs
}

/** As `durationMs`, and `250ms`. */
function slowMs(text: string): number | undefined {
  const [, count] = /^(\d{1,7})ms$/.exec(text) ?? []
  return count === undefined ? durationMs(text) : Number(count)
}

function isLogLevel(value: string): value is LogLevel {
  return LOG_LEVELS.some((level) => level === value)
}
