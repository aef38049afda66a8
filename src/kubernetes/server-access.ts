/** Where the API server is and what is shown to it; and the one source of that which needs no file of the user's. */
import { readFile } from 'node:fs/promises'
import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { errorLine } from '#base'
import { KubernetesConfigError } from './kubernetes-error.ts'

/** PEM texts and a bearer token, as far as they are used. */
export interface Credentials {
  readonly ca?: string
  readonly certificate?: string
  readonly key?: string
  readonly token?: string
}

export interface ServerAccess {
  /** Its path, if any, comes before those of requests. */
  readonly server: URL
  /** The name that the server's certificate must have, where that is not the host of `server`. */
  readonly tlsServerName?: string
  /** True: the server's certificate is not looked at. Loopback only. */
  readonly unverified: boolean
  /** Reads the files anew: whoever issues credentials also rotates them. */
  readonly readCredentials: () => Promise<Credentials>
}

export interface InClusterOptions {
  /** Default: the process's. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Default: where the kubelet mounts it. */
  readonly serviceAccountDirectory?: string
}

const SERVICE_ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount'

/** Of a pod with a service account token mounted. Throws KubernetesConfigError elsewhere. */
export function inClusterAccess(options: InClusterOptions = {}): ServerAccess {
  const environment = options.environment ?? process.env
  const directory = options.serviceAccountDirectory ?? SERVICE_ACCOUNT_DIRECTORY
  const host = environment['KUBERNETES_SERVICE_HOST']
  const port = environment['KUBERNETES_SERVICE_PORT'] ?? '443'
  if (host === undefined || host === '') {
    throw new KubernetesConfigError(
      'Cannot find the API server: KUBERNETES_SERVICE_HOST is not set, so this is no pod; name a kubeconfig file',
    )
  }
  const server = parseServer(
    `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    'KUBERNETES_SERVICE_HOST and _PORT',
  )
  const remedy = 'mount the service account (automountServiceAccountToken)'
  return {
    server,
    unverified: false,
    readCredentials: async () => ({
      ca: await readText(join(directory, 'ca.crt'), remedy),
      token: (await readText(join(directory, 'token'), remedy)).trim(),
    }),
  }
}

/** @param field what is named in the error */
export function parseServer(text: string, field: string): URL {
  if (!URL.canParse(text)) {
    throw new KubernetesConfigError(`${field}: expected the URL of an API server, got ${JSON.stringify(text)}`)
  }
  const url = new URL(text)
  if (url.protocol === 'http:' && !isLoopback(url)) {
    throw new KubernetesConfigError(`${field}: ${text} is without TLS: use https, http is for loopback addresses only`)
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new KubernetesConfigError(`${field}: expected an https URL, got ${JSON.stringify(text)}`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new KubernetesConfigError(`${field}: a password in the URL is not supported: use a token or a certificate`)
  }
  return url
}

export function isLoopback(url: URL): boolean {
  return url.hostname === 'localhost' || url.hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(url.hostname)
}

export async function readText(path: string, remedy: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new KubernetesConfigError(`Cannot read ${path}: ${errorLine(error)}: ${remedy}`, { cause: error })
  }
}
