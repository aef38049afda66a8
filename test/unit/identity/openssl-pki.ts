/** Certificates made by openssl: what a user's own PKI gives us. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export function openssl(args: readonly string[], input?: string): string {
  const { status, stdout, stderr } = spawnSync('openssl', args, {
    encoding: 'utf8',
    ...(input === undefined ? {} : { input }),
  })
  if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${stderr}`)
  return stdout
}

export type KeyKind = 'ec-pkcs8' | 'ec-sec1' | 'ec-p384' | 'rsa-pkcs8' | 'rsa-pkcs1'

/** Writes a key and returns its path. */
export function makeKey(directory: string, name: string, kind: KeyKind): string {
  const path = join(directory, `${name}.key`)
  const curve = kind === 'ec-p384' ? 'secp384r1' : 'prime256v1'
  if (kind === 'ec-sec1') openssl(['ecparam', '-name', curve, '-genkey', '-noout', '-out', path])
  else if (kind === 'rsa-pkcs1') openssl(['genrsa', '-traditional', '-out', path, '2048'])
  else if (kind === 'rsa-pkcs8')
    openssl(['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', path])
  else openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${curve}`, '-out', path])
  return path
}

export interface Made {
  readonly keyPath: string
  readonly path: string
  readonly key: string
  readonly pem: string
}

const CA_EXTENSIONS = [
  'basicConstraints=critical,CA:TRUE',
  'keyUsage=critical,keyCertSign,cRLSign',
  'subjectKeyIdentifier=hash',
]

/** A self-signed certificate. */
export function makeRoot(
  directory: string,
  name: string,
  kind: KeyKind = 'ec-pkcs8',
  extensions = CA_EXTENSIONS,
): Made {
  const keyPath = makeKey(directory, name, kind)
  const path = join(directory, `${name}.pem`)
  const more = extensions.flatMap((extension) => ['-addext', extension])
  // An own configuration: the system's would add extensions of its own.
  const config = join(directory, 'req.cnf')
  writeFileSync(config, '[req]\ndistinguished_name=dn\n[dn]\n')
  openssl([
    'req',
    '-x509',
    '-new',
    '-config',
    config,
    '-key',
    keyPath,
    '-subj',
    `/O=Example/CN=${name}`,
    '-days',
    '400',
    '-out',
    path,
    ...more,
  ])
  return { keyPath, path, key: readFileSync(keyPath, 'utf8'), pem: readFileSync(path, 'utf8') }
}

/** A CA certificate signed by another. */
export function makeIntermediate(directory: string, name: string, issuer: Made, days = 200): Made {
  const keyPath = makeKey(directory, name, 'ec-pkcs8')
  const path = join(directory, `${name}.pem`)
  const extensions = join(directory, `${name}.ext`)
  writeFileSync(extensions, `${CA_EXTENSIONS.join('\n')}\nauthorityKeyIdentifier=keyid\n`)
  const request = openssl([
    'req',
    '-new',
    '-config',
    join(directory, 'req.cnf'),
    '-key',
    keyPath,
    '-subj',
    `/O=Example/CN=${name}`,
  ])
  const sign = [
    'x509',
    '-req',
    '-CA',
    issuer.path,
    '-CAkey',
    issuer.keyPath,
    '-days',
    String(days),
    '-extfile',
    extensions,
    '-out',
    path,
  ]
  openssl([...sign, '-set_serial', String(1000 + days)], request)
  return { keyPath, path, key: readFileSync(keyPath, 'utf8'), pem: readFileSync(path, 'utf8') }
}
