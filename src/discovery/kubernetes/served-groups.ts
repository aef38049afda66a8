/**
 * Which of the wanted resources the API server serves now, and at which version. Asked again and again: definitions
 * are installed after us, upgraded and removed; and the asking shows that the server is alive while nothing changes.
 */
import { type KubernetesApi, KubernetesError } from '#kubernetes'
import { isFields } from './fields.ts'
import { type Followed, resourceName } from './followed.ts'

/** The version of each wanted resource by its name; what is not in it is not served. */
export type ServedVersions = ReadonlyMap<string, string>

interface LookOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Costs one request, one for each group that is served and has one of `wanted`, and one when some are not. Throws KubernetesError. */
export async function servedVersions(
  api: KubernetesApi,
  wanted: readonly Followed[],
  options: LookOptions,
): Promise<ServedVersions> {
  const groups = readGroups(await api.request('GET', '/apis', options))
  const found = new Map<string, string>()
  const plurals = new Map<string, ReadonlySet<string>>()
  for (const followed of wanted) {
    const offered = groups.get(followed.group)
    for (const version of followed.versions.filter((version) => offered?.has(version))) {
      const path = `/apis/${followed.group}/${version}`
      const known = plurals.get(path) ?? (await readPlurals(api, path, options))
      plurals.set(path, known)
      if (!known.has(followed.plural)) continue
      found.set(resourceName(followed), version)
      break
    }
  }
  if (wanted.some((followed) => !found.has(resourceName(followed)))) await assertReady(api, options)
  return found
}

/** A server that has just started does not know all definitions yet: that it denies one counts when it is ready. */
async function assertReady(api: KubernetesApi, options: LookOptions): Promise<void> {
  try {
    await api.request('GET', '/readyz', { ...options, as: 'text' })
  } catch (thrown) {
    if (!(thrown instanceof KubernetesError) || thrown.isOutage) throw thrown
  }
}

function readGroups(answer: unknown): ReadonlyMap<string, ReadonlySet<string>> {
  const groups = isFields(answer) ? answer['groups'] : undefined
  if (!Array.isArray(groups)) throw malformed('/apis')
  const found = new Map<string, ReadonlySet<string>>()
  for (const group of groups) {
    if (!isFields(group) || typeof group['name'] !== 'string' || !Array.isArray(group['versions'])) continue
    const versions = group['versions'].flatMap((entry: unknown) =>
      isFields(entry) && typeof entry['version'] === 'string' ? [entry['version']] : [],
    )
    found.set(group['name'], new Set(versions))
  }
  return found
}

async function readPlurals(api: KubernetesApi, path: string, options: LookOptions): Promise<ReadonlySet<string>> {
  const answer = await api.request('GET', path, options)
  const resources = isFields(answer) ? answer['resources'] : undefined
  if (!Array.isArray(resources)) throw malformed(path)
  return new Set(
    resources.flatMap((one: unknown) => (isFields(one) && typeof one['name'] === 'string' ? [one['name']] : [])),
  )
}

function malformed(path: string): KubernetesError {
  return new KubernetesError({ status: 200, reason: 'Malformed', message: `GET ${path}: the answer is no discovery` })
}
