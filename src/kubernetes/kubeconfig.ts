/**
 * A kubeconfig file → access to the server of its current context. What it may hold and we do not do (plugins that
 * run programs, proxies, impersonation) is refused by name, never left out in silence.
 */
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import { errorLine } from '#base'
import { KubernetesConfigError } from './kubernetes-error.ts'
import { type Credentials, isLoopback, parseServer, readText, type ServerAccess } from './server-access.ts'

type Fields = Readonly<Record<string, unknown>>

const USE_TOKEN = 'create a service account token (kubectl create token) and give it as token or tokenFile'
const UNSUPPORTED_USER: Readonly<Record<string, string>> = {
  exec: `plugins that run a program are not supported: ${USE_TOKEN}`,
  'auth-provider': `auth providers are not supported: ${USE_TOKEN}`,
  username: `passwords are not supported: ${USE_TOKEN}`,
  as: 'impersonation is not supported: use credentials of the identity itself',
}

/** Throws KubernetesConfigError, naming file and field. Relative paths in the file are relative to its directory. */
export async function kubeconfigAccess(path: string): Promise<ServerAccess> {
  let root: unknown
  try {
    root = parse(await readFile(path, 'utf8'), { logLevel: 'error' })
  } catch (error) {
    throw new KubernetesConfigError(`Cannot read the kubeconfig ${path}: ${errorLine(error)}`, { cause: error })
  }
  const file: KubeconfigFile = new KubeconfigFile(path, isFields(root) ? root : {})
  const contextName = file.text(file.root, 'current-context', '')
  if (contextName === undefined) file.fail('current-context is not set: choose one with kubectl config use-context')
  const context = file.entry('contexts', contextName, 'context')
  const clusterName = file.text(context, 'cluster', `contexts[${contextName}].context.`)
  const userName = file.text(context, 'user', `contexts[${contextName}].context.`)
  if (clusterName === undefined) file.fail(`contexts[${contextName}].context.cluster is missing`)
  const cluster = file.entry('clusters', clusterName, 'cluster')
  const user = userName === undefined ? {} : file.entry('users', userName, 'user')
  const clusterPlace = `clusters[${clusterName}].cluster.`
  const userPlace = `users[${userName}].user.`

  const serverText = file.text(cluster, 'server', clusterPlace)
  if (serverText === undefined) file.fail(`${clusterPlace}server is missing`)
  const server = parseServer(serverText, `${path}: ${clusterPlace}server`)
  if (cluster['proxy-url'] !== undefined) {
    file.fail(`${clusterPlace}proxy-url: proxies are not supported: name a server that is reached directly`)
  }
  for (const [field, why] of Object.entries(UNSUPPORTED_USER)) {
    if (user[field] !== undefined) file.fail(`${userPlace}${field}: ${why}`)
  }
  const unverified = cluster['insecure-skip-tls-verify'] === true
  if (unverified && !isLoopback(server)) {
    file.fail(
      `${clusterPlace}insecure-skip-tls-verify: anybody could answer for ${server.host}: give certificate-authority instead`,
    )
  }
  const tlsServerName = file.text(cluster, 'tls-server-name', clusterPlace)
  const readCredentials = async (): Promise<Credentials> => {
    const ca = await file.pem(cluster, 'certificate-authority', clusterPlace)
    const certificate = await file.pem(user, 'client-certificate', userPlace)
    const key = await file.pem(user, 'client-key', userPlace)
    const token = await file.token(user, userPlace)
    return {
      ...(ca === undefined ? {} : { ca }),
      ...(certificate === undefined ? {} : { certificate }),
      ...(key === undefined ? {} : { key }),
      ...(token === undefined ? {} : { token }),
    }
  }
  return { server, unverified, readCredentials, ...(tlsServerName === undefined ? {} : { tlsServerName }) }
}

class KubeconfigFile {
  readonly root: Fields
  readonly #path: string

  constructor(path: string, root: Fields) {
    this.#path = path
    this.root = root
  }

  fail(message: string): never {
    throw new KubernetesConfigError(`${this.#path}: ${message}`)
  }

  text(fields: Fields, name: string, place: string): string | undefined {
    const value = fields[name]
    if (value === undefined || value === null || value === '') return undefined
    if (typeof value !== 'string') this.fail(`${place}${name}: expected a string, got ${typeof value}`)
    return value
  }

  /** The part `inner` of the entry of that name in one of the file's lists. */
  entry(list: string, name: string, inner: string): Fields {
    const entries = this.root[list]
    const found = Array.isArray(entries)
      ? entries.find((entry: unknown) => isFields(entry) && entry['name'] === name)
      : undefined
    if (!isFields(found)) this.fail(`${list} has no entry named ${name}`)
    const fields = found[inner]
    return isFields(fields) ? fields : {}
  }

  /** `NAME-data` in base64, else the file that `NAME` names. */
  async pem(fields: Fields, name: string, place: string): Promise<string | undefined> {
    const data = this.text(fields, `${name}-data`, place)
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8')
    const path = this.text(fields, name, place)
    return path === undefined ? undefined : await this.#read(path, `${place}${name}`)
  }

  async token(fields: Fields, place: string): Promise<string | undefined> {
    const path = this.text(fields, 'tokenFile', place)
    if (path !== undefined) return (await this.#read(path, `${place}tokenFile`)).trim()
    return this.text(fields, 'token', place)
  }

  #read(path: string, field: string): Promise<string> {
    return readText(resolve(dirname(this.#path), path), `it is ${field} of ${this.#path}`)
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
