/**
 * The CA's files in the cluster: a Secret keeps what --ca-dir holds, so that a restart and other replicas go on with
 * the same key, and a ConfigMap tells agents the roots and the revoked. The Secret has the last word on the key.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errorLine, WeirError } from '#base'
import { CA_FILES, REVOCATION_FILE, reconcileRevocations, writeCaFile } from '#identity/ca'
import { type KubernetesApi, KubernetesError } from '#kubernetes'

type Api = Pick<KubernetesApi, 'request'>
type Texts = Readonly<Record<string, string>>

interface Stored {
  readonly resourceVersion: string
  readonly data: Texts
}

const FILES: readonly string[] = Object.values(CA_FILES)
const PUBLISHED: readonly string[] = [CA_FILES.roots, REVOCATION_FILE]
const LABELS = { 'app.kubernetes.io/name': 'weir', 'app.kubernetes.io/component': 'ca' }

/**
 * Makes the directory hold what the Secret holds; without a Secret, makes one of what the directory holds.
 * @param secret NAMESPACE/NAME
 * @returns true when files were written
 */
export async function syncSecret(api: Api, secret: string, directory: string): Promise<boolean> {
  const own = await filesOf(directory, FILES)
  let stored = await read(api, 'secrets', secret)
  if (stored === undefined) {
    if (own[CA_FILES.privateKey] === undefined) return false
    try {
      await create(api, 'secrets', secret, own)
      return false
    } catch (thrown) {
      // Another replica was first.
      if (!(thrown instanceof KubernetesError && thrown.status === 409)) throw thrown
      stored = await read(api, 'secrets', secret)
    }
  }
  if (stored === undefined || FILES.every((name) => stored.data[name] === own[name])) return false
  await writeAll(stored, secret, directory)
  return true
}

/** Roots and revocations of this replica and of the others. */
export class Publication {
  readonly #api: Api
  readonly #configMap: string
  readonly #directory: string

  constructor(api: Api, configMap: string, directory: string) {
    this.#api = api
    this.#configMap = configMap
    this.#directory = directory
  }

  /**
   * Tells what the directory holds; what another replica has revoked comes into the directory. Whoever edits the
   * ConfigMap brings nobody back, and puts no root there.
   * @returns true when something was told
   */
  async exchange(): Promise<boolean> {
    const there = await read(this.#api, 'configmaps', this.#configMap)
    const published = there?.data[REVOCATION_FILE]
    if (published !== undefined) await reconcileRevocations(this.#directory, published, Date.now())
    const own = await filesOf(this.#directory, PUBLISHED)
    // Whole or not at all: agents are to find roots and list together.
    if (own[REVOCATION_FILE] === undefined) return false
    if (there === undefined) await create(this.#api, 'configmaps', this.#configMap, own)
    else if (PUBLISHED.some((name) => there.data[name] !== own[name])) {
      await this.#api.request('PUT', pathOf('configmaps', this.#configMap), {
        body: body('configmaps', this.#configMap, own, there.resourceVersion),
      })
    } else return false
    return true
  }
}

async function writeAll(stored: Stored, secret: string, directory: string): Promise<void> {
  const missing = FILES.filter((name) => stored.data[name] === undefined)
  if (missing.length > 0) {
    const remedy = `put ${FILES.join(', ')} into it, or delete it to have a CA made`
    throw new WeirError('WEIR_CA_SECRET', `The Secret ${secret} lacks ${missing.join(', ')}: ${remedy}`)
  }
  // The key last: a directory with a key holds all.
  for (const name of FILES.toSorted((a, b) => Number(a === CA_FILES.privateKey) - Number(b === CA_FILES.privateKey))) {
    await writeCaFile(directory, name, stored.data[name] ?? '', 0o600)
  }
}

async function filesOf(directory: string, names: readonly string[]): Promise<Texts> {
  const present: readonly string[] = await readdir(directory).catch(() => [])
  const entries = names
    .filter((name) => present.includes(name))
    .map(async (name) => [name, await readFile(join(directory, name), 'utf8')] as const)
  return Object.fromEntries(await Promise.all(entries))
}

type Kind = 'secrets' | 'configmaps'

async function read(api: Api, kind: Kind, name: string): Promise<Stored | undefined> {
  let found: unknown
  try {
    found = await api.request('GET', pathOf(kind, name))
  } catch (thrown) {
    if (thrown instanceof KubernetesError && thrown.status === 404) return undefined
    throw new WeirError('WEIR_CA_SECRET', `Cannot read ${kind} ${name}: ${errorLine(thrown)}`, { cause: thrown })
  }
  const { metadata, data } = found as { metadata?: { resourceVersion?: string }; data?: Texts }
  const decode = (value: string) => (kind === 'secrets' ? Buffer.from(value, 'base64').toString('utf8') : value)
  const texts = Object.entries(data ?? {}).map(([key, value]) => [key, decode(value)])
  return { resourceVersion: metadata?.resourceVersion ?? '', data: Object.fromEntries(texts) }
}

async function create(api: Api, kind: Kind, name: string, data: Texts): Promise<void> {
  const [namespace = ''] = name.split('/')
  await api.request('POST', `/api/v1/namespaces/${namespace}/${kind}`, { body: body(kind, name, data) })
}

function body(kind: Kind, fullName: string, data: Texts, resourceVersion?: string): unknown {
  const [namespace, name] = fullName.split('/')
  const encode = (value: string) => (kind === 'secrets' ? Buffer.from(value).toString('base64') : value)
  return {
    apiVersion: 'v1',
    kind: kind === 'secrets' ? 'Secret' : 'ConfigMap',
    metadata: { namespace, name, labels: LABELS, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, encode(value)])),
  }
}

function pathOf(kind: Kind, fullName: string): string {
  const [namespace = '', name = ''] = fullName.split('/')
  return `/api/v1/namespaces/${namespace}/${kind}/${name}`
}
