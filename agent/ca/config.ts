/** The command line of `weir ca`: every mistake in it is told at once. */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { TRUST_DOMAIN_DEFAULT } from '#contract'
import { parseDurationMs } from '#schema'
import { LOG_LEVELS, type LogLevel } from '../log.ts'

/** Where the CA learns which node is asking, and which pods run there. */
export type NodesConfig =
  | { readonly kind: 'files'; readonly joinTokens: string; readonly manifests: string }
  | {
      readonly kind: 'kubernetes'
      /** Undefined in a pod of the cluster. */
      readonly kubeconfig: string | undefined
      readonly audience: string
      /** NAMESPACE/NAME of the agents' service account. */
      readonly agentAccount: string
      /** NAMESPACE/NAME of the Secret that keeps the CA's files; undefined: they are kept in --ca-dir alone. */
      readonly secret: string | undefined
      /** NAMESPACE/NAME of the ConfigMap that tells agents the roots and the revoked. */
      readonly configMap: string | undefined
    }

export interface CaConfig {
  readonly host: string
  readonly port: number
  readonly caDir: string
  readonly nodes: NodesConfig
  readonly trustDomain: string
  /** Given where the asker names none. */
  readonly ttlMs: number
  readonly maxTtlMs: number
  /** Further names and addresses by which clients reach this CA. */
  readonly names: readonly string[]
  readonly logLevel: LogLevel
}

const TTL_DEFAULT = '24h'
const MIN_TTL_MS = 1_000
const MAX_TTL_MS = 90 * 86_400_000

const AUDIENCE_DEFAULT = 'weir-ca'
const AGENT_ACCOUNT_DEFAULT = 'weir-system/weir-agent'

export const CA_USAGE = `weir ca --listen HOST:PORT --ca-dir DIR --join-tokens FILE --manifests DIR [options]
weir ca --listen HOST:PORT --ca-dir DIR --kubernetes [options]
Serves Istio's certificate API (istio.v1.auth.IstioCertificateService) over TLS: each node gets certificates for the
service accounts of the pods that run on it, and for no others. To revoke one: weir ca revoke --help.
  --listen HOST:PORT    where to serve; the CA's own certificate names HOST
  --ca-dir DIR          ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem; made when empty, followed live.
                        ca-crl.pem, the revoked, is made when missing, and signed anew before it ends: agents with
                        --ca may be given a copy (--ca-crl); to make it by hand: weir ca revoke --ca-dir DIR.
                        root-cert.pem may hold several roots: all are trusted, as needed while one replaces another
  --join-tokens FILE    YAML or JSON, followed live: each node's name, and its token, a list of tokens, or
                        sha256:HEX of a token. A token has at least 128 bits: openssl rand -hex 32
  --manifests DIR       directory of Kubernetes YAML, followed live: which pods run where
  --kubernetes          instead of the two above: a node's token is one of its agent's service account, reviewed by the
                        API server, and the pods are the cluster's
  --kubeconfig FILE     how to reach the API server; default: as a pod of the cluster does
  --audience NAME       what a token must be meant for; default ${AUDIENCE_DEFAULT}
  --agent-account NS/NAME  whose tokens are nodes' tokens; default ${AGENT_ACCOUNT_DEFAULT}
  --secret NS/NAME      Secret that keeps what --ca-dir holds for the next start and for other replicas; made when absent
  --config-map NS/NAME  ConfigMap in which the roots and the revoked are told to agents; made when absent
  --trust-domain NAME   default ${TRUST_DOMAIN_DEFAULT}
  --cert-ttl DURATION   lifetime where none is asked for, as 1h30m; default ${TTL_DEFAULT}
  --max-ttl DURATION    longest lifetime: what is asked beyond it is cut; default ${TTL_DEFAULT}, or --cert-ttl if longer
  --names LIST          further names and addresses of this CA, by comma
  --log-level LEVEL     ${LOG_LEVELS.join(', ')}; default info`

export type ParsedCaConfig =
  | { readonly kind: 'config'; readonly config: CaConfig }
  | { readonly kind: 'help' }
  | { readonly kind: 'errors'; readonly errors: readonly string[] }

const TEXT_FLAGS = [
  'listen',
  'ca-dir',
  'join-tokens',
  'manifests',
  'trust-domain',
  'cert-ttl',
  'max-ttl',
  'names',
  'log-level',
  'kubeconfig',
  'audience',
  'agent-account',
  'secret',
  'config-map',
] as const
type TextFlag = (typeof TEXT_FLAGS)[number]
const REQUIRED: readonly TextFlag[] = ['listen', 'ca-dir']
const OF_FILES: readonly TextFlag[] = ['join-tokens', 'manifests']
const OF_CLUSTER: readonly TextFlag[] = ['kubeconfig', 'audience', 'agent-account', 'secret', 'config-map']
/** An account, a Secret or a ConfigMap, with its namespace. */
const NAMESPACED = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/

/** @param args what follows `weir ca` */
export function parseCaArguments(args: readonly string[]): ParsedCaConfig {
  const { values, errors, help, kubernetes } = readFlags(args)
  if (help) return { kind: 'help' }
  for (const name of kubernetes ? REQUIRED : [...REQUIRED, ...OF_FILES]) {
    if (!values.has(name)) errors.push(`--${name}: missing; see weir ca --help.`)
  }
  for (const name of kubernetes ? OF_FILES : OF_CLUSTER) {
    if (values.has(name)) errors.push(`--${name}: ${kubernetes ? 'not together with' : 'only with'} --kubernetes.`)
  }
  const text = (name: TextFlag, otherwise = '') => values.get(name) ?? otherwise
  const check = <T>(name: TextFlag, value: T | undefined, expected: string, otherwise: T): T => {
    if (value === undefined) errors.push(`--${name}: expected ${expected}, got ${JSON.stringify(text(name))}.`)
    return value ?? otherwise
  }
  const nowhere = { host: '', port: 0 }
  const place = values.has('listen')
    ? check('listen', parsePlace(text('listen')), 'HOST:PORT, an IPv6 address in brackets', nowhere)
    : nowhere
  const lifetimes = `a duration from 1s to ${MAX_TTL_MS / 3_600_000}h, such as 24h or 1h30m`
  const ttlMs = check('cert-ttl', parseTtl(text('cert-ttl', TTL_DEFAULT)), lifetimes, 0)
  const maxTtlMs = values.has('max-ttl')
    ? check('max-ttl', parseTtl(text('max-ttl')), lifetimes, 0)
    : Math.max(ttlMs, parseTtl(TTL_DEFAULT) ?? 0)
  if (values.has('max-ttl') && maxTtlMs < ttlMs) errors.push('--max-ttl: must not be shorter than --cert-ttl.')
  const trustDomain = text('trust-domain', TRUST_DOMAIN_DEFAULT)
  const domain = /^[a-z0-9._-]{1,255}$/.test(trustDomain) ? trustDomain : undefined
  check('trust-domain', domain, `a trust domain such as ${TRUST_DOMAIN_DEFAULT}`, '')
  const names = text('names')
    .split(',')
    .filter((name) => name !== '')
  check('names', names.every(isHost) ? names : undefined, 'DNS names and IP addresses by comma', [])
  const level = LOG_LEVELS.find((known) => known === text('log-level', 'info'))
  const logLevel = check('log-level', level, `one of ${LOG_LEVELS.join(', ')}`, 'info' as const)
  const namespaced = (name: TextFlag): string | undefined => {
    if (!values.has(name) || values.get(name) === '') return undefined
    return check(name, NAMESPACED.test(text(name)) ? text(name) : undefined, 'NAMESPACE/NAME', '')
  }
  const nodes: NodesConfig = kubernetes
    ? {
        kind: 'kubernetes',
        kubeconfig: values.has('kubeconfig') ? resolve(text('kubeconfig')) : undefined,
        audience: text('audience', AUDIENCE_DEFAULT),
        agentAccount: namespaced('agent-account') ?? AGENT_ACCOUNT_DEFAULT,
        secret: namespaced('secret'),
        configMap: namespaced('config-map'),
      }
    : { kind: 'files', joinTokens: resolve(text('join-tokens')), manifests: resolve(text('manifests')) }
  if (errors.length > 0) return { kind: 'errors', errors }
  return {
    kind: 'config',
    config: {
      ...place,
      caDir: resolve(text('ca-dir')),
      nodes,
      trustDomain,
      ttlMs,
      maxTtlMs,
      names,
      logLevel,
    },
  }
}

interface ReadFlags {
  readonly values: Map<TextFlag, string>
  readonly errors: string[]
  readonly help: boolean
  readonly kubernetes: boolean
}

function readFlags(args: readonly string[]): ReadFlags {
  const values = new Map<TextFlag, string>()
  const errors: string[] = []
  let help = false
  let kubernetes = false
  const options = Object.fromEntries(TEXT_FLAGS.map((name) => [name, { type: 'string' as const }]))
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true })
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    const name = token.kind === 'option' ? TEXT_FLAGS.find((known) => known === token.name) : undefined
    if (token.kind === 'option' && (token.name === 'help' || token.rawName === '-h')) help = true
    else if (token.kind === 'option' && token.name === 'kubernetes' && token.value === undefined) kubernetes = true
    else if (token.kind === 'positional' || name === undefined) {
      errors.push(`Unknown argument ${token.kind === 'positional' ? token.value : token.rawName}; see weir ca --help.`)
    } else if (!token.value || (token.inlineValue === false && token.value.startsWith('--'))) {
      errors.push(`--${name}: needs a value.`)
      values.set(name, '')
    } else {
      if (values.has(name)) errors.push(`--${name}: given twice.`)
      values.set(name, token.value)
    }
  }
  return { values, errors, help, kubernetes }
}

function parsePlace(text: string): { readonly host: string; readonly port: number } | undefined {
  const [, bracketed, plain, port = ''] = /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  return host === undefined || Number(port) > 65_535 ? undefined : { host, port: Number(port) }
}

function parseTtl(text: string): number | undefined {
  const ttlMs = parseDurationMs(text)
  return ttlMs !== undefined && ttlMs >= MIN_TTL_MS && ttlMs <= MAX_TTL_MS ? ttlMs : undefined
}

function isHost(text: string): boolean {
  return /^[\w.-]{1,253}$/.test(text) || /^[0-9a-fA-F:.]+$/.test(text)
}
