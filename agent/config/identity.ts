/** Who signs the identities of this node's pods. */
import { resolve } from 'node:path'
import { TRUST_DOMAIN_DEFAULT } from '#contract'
import type { IssuerConfig } from '../identity/open-issuer.ts'
import { anyText, duration, durationMs, matching, pathOf, type Subject } from './flag.ts'
import type { Given } from './given.ts'

export interface IdentitySettings {
  readonly trustDomain: string
  /** Who signs for this node's identities. */
  readonly issuer: IssuerConfig
  /** Of the CA that is asked; a CA's directory has one of its own. */
  readonly revocationFile: string | undefined
  readonly certTtlMs: number
}

const MIN_CERT_TTL_MS = 5_000
const MAX_CERT_TTL_MS = 720 * 3_600_000
/** What the CA is asked with. */
const EXAMPLES = { 'ca-root': './root-cert.pem', 'join-token': './join-token' } as const

export const IDENTITY: Subject<IdentitySettings> = {
  flags: {
    'trust-domain': {
      value: 'NAME',
      says: 'of all identities',
      default: TRUST_DOMAIN_DEFAULT,
      wrong: matching(/^[a-z0-9._-]{1,255}$/, 'a trust domain such as cluster.local'),
    },
    'ca-dir': {
      value: 'DIR',
      says: 'sign identities with the CA in DIR (made when empty); without it and --ca: one in memory',
      wrong: anyText,
    },
    ca: {
      value: 'HOST:PORT',
      says: 'let a CA sign them (weir ca, istiod); with --ca-root and --join-token',
      wrong: matching(/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/, 'HOST:PORT'),
    },
    'ca-root': { value: 'FILE', says: 'with --ca: its roots, PEM', wrong: anyText },
    'join-token': { value: 'FILE', says: 'with --ca: what this node proves itself with', wrong: anyText },
    'ca-crl': {
      value: 'FILE',
      says: "with --ca: revoked certificates (PEM), followed live: the CA's DIR/ca-crl.pem, which weir ca makes, or weir ca revoke --ca-dir DIR; with --ca-dir its own is followed",
      wrong: anyText,
    },
    'cert-ttl': {
      value: 'DURATION',
      says: 'how long certificates last, from 5s to 720h; renewed at half of it',
      default: '24h',
      wrong: duration(MIN_CERT_TTL_MS, MAX_CERT_TTL_MS, 'from 5s to 720h such as 24h'),
    },
  },
  wrong(given) {
    const errors: string[] = []
    if (given.has('ca') && given.has('ca-dir')) errors.push('--ca-dir: not together with --ca; keep one of them.')
    for (const [name, example] of Object.entries(EXAMPLES)) {
      if (given.has('ca') && !given.has(name))
        errors.push(`--${name}: needed with --ca; give it as --${name} ${example} (see weir agent --help).`)
      if (given.has(name) && !given.has('ca')) errors.push(`--${name}: only with --ca.`)
    }
    if (given.has('ca-crl') && !given.has('ca')) {
      errors.push('--ca-crl: only with --ca; the CA of --ca-dir DIR has its list in DIR/ca-crl.pem.')
    }
    return errors
  },
  read: (given) => ({
    trustDomain: given.text('trust-domain'),
    issuer: issuerOf(given),
    revocationFile: pathOf(given, 'ca-crl'),
    certTtlMs: durationMs(given.text('cert-ttl')) ?? 0,
  }),
}

function issuerOf(given: Given): IssuerConfig {
  const directory = pathOf(given, 'ca-dir')
  if (!given.has('ca')) return directory === undefined ? { kind: 'memory' } : { kind: 'directory', directory }
  const [rootFile, tokenFile] = [resolve(given.text('ca-root')), resolve(given.text('join-token'))]
  return { kind: 'remote', address: given.text('ca'), rootFile, tokenFile, node: given.text('node') }
}
