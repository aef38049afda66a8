/** Versions of a shop's API, for tests. */
import type { ApiVersion, HttpFacts, Versioning } from '#contract'
import { planVersioning, type VersioningPlan, type VersionPlan } from '#translation'

export function versioning(versions: readonly ApiVersion[], more: Partial<Versioning> = {}): Versioning {
  return { versions, unknown: 'Pass', maxBodyBytes: 1 << 20, ...more }
}

export function planOf(versions: readonly ApiVersion[], more: Partial<Versioning> = {}): VersioningPlan {
  return planVersioning(versioning(versions, more))
}

export function versionOf(declared: Partial<ApiVersion>): VersionPlan {
  const [version] = planOf([{ name: '1', matches: [], ...declared }]).versions
  if (version === undefined) throw new Error('no version')
  return version
}

export function facts(target: string, headers: Readonly<Record<string, string>> = {}, method = 'GET'): HttpFacts {
  const [path = '', query = ''] = target.split('?')
  return { method, path, query, authority: 'web.shop', header: (name) => headers[name] }
}
