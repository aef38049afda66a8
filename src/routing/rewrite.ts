/** Path rewriting for URLRewrite and RequestRedirect (HTTPPathModifier of the Gateway API). */
import type { HttpFacts, PathRewrite } from '#contract'

/**
 * `prefix` is the matched PathPrefix, needed by ReplacePrefixMatch only. The asterisk form of
 * OPTIONS names no path and stays.
 */
export function rewritePath(rewrite: PathRewrite, prefix: string, path: string): string {
  if (path === '*') return path
  if (rewrite.type === 'ReplaceFullPath') return rewrite.value.startsWith('/') ? rewrite.value : `/${rewrite.value}`
  return replacePrefix(path, prefix, rewrite.value)
}

/**
 * The table under `HTTPPathModifier.replacePrefixMatch`: whole path elements are replaced, a trailing
 * slash of the prefix and of its replacement is ignored, one on the path stays, and no path is empty.
 */
function replacePrefix(path: string, prefix: string, replacement: string): string {
  const rest = path.slice(withoutTrailingSlash(prefix).length)
  const base = withoutTrailingSlash(replacement)
  const joined = rest === '' || rest.startsWith('/') ? base + rest : `${base}/${rest}`
  if (joined === '') return '/'
  return joined.startsWith('/') ? joined : `/${joined}`
}

/** The form in which prefixes are compared: `/abc/` is `/abc`, and `/` is the empty prefix. */
export function withoutTrailingSlash(prefix: string): string {
  return prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
}

/** The request target to send: the path (rewritten if `rewrite` is given) and the query as it came. */
export function renderTarget(rewrite: PathRewrite | undefined, prefix: string, facts: HttpFacts): string {
  const path = rewrite === undefined ? facts.path : rewritePath(rewrite, prefix, facts.path)
  return facts.query === '' ? path : `${path}?${facts.query}`
}
