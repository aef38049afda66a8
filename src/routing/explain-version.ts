/** Which version of an API a request is, and what is translated, in words. */
import type { BodyRule, HeaderTranslation, HttpFacts, JsonPath, QueryTranslation } from '#contract'
import type { Recognised } from '#translation'
import type { ForwardDecision } from './decision.ts'
import { versionedRequest } from './forwarded-facts.ts'

/** One sentence each; none where no versions are declared. */
export function explainVersion(decision: ForwardDecision, facts: HttpFacts): readonly string[] {
  const found = versionedRequest(decision, facts)
  if (found === undefined || decision.versions === undefined) return []
  const { recognised, translated, routed } = found
  const { version } = recognised
  const lines = [recognisedText(recognised)]
  if (version === undefined) return lines
  const { declared } = version
  if (translated !== undefined) {
    const before = routed.query === '' ? routed.path : `${routed.path}?${routed.query}`
    if (translated.target !== before) lines.push(`Its target ${before} is translated to ${translated.target}.`)
    lines.push(...headersText('The request', declared.request?.headers), ...queryText(declared.request?.query))
    lines.push(...bodyText('the request', declared.request?.body ?? []))
    lines.push(...headersText('The answer', declared.response?.headers))
    lines.push(...bodyText('an answer 2xx', declared.response?.body ?? []))
    lines.push(...bodyText('an answer 4xx or 5xx', declared.response?.errorBody ?? []))
    if (version.requestBody.length + version.responseBody.length + version.errorBody.length > 0)
      lines.push(`A body that is translated may have ${decision.versions.maxBodyBytes} bytes; others pass as they are.`)
  } else lines.push('It is not translated.')
  const { deprecation, sunset } = declared.deprecation ?? {}
  if (declared.deprecation !== undefined) {
    const when = [deprecation && `Deprecation: ${deprecation}`, sunset && `Sunset: ${sunset}`].filter((text) => text)
    lines.push(`Its answers tell that the version is going${when.length === 0 ? '' : ` (${when.join(', ')})`}.`)
  }
  return lines
}

function recognisedText({ version, by, kind }: Recognised): string {
  switch (kind) {
    case 'declared':
      return `It is of API version ${version?.name ?? ''}, by ${by}.`
    case 'default':
      return `It is of API version ${version?.name ?? ''}, the default: ${by}.`
    case 'none':
      return `It is of no API version (${by}), and passes as it is.`
    case 'unknown':
      return `It is of an API version that is not declared (${by}), and passes as it is.`
  }
}

function headersText(subject: string, headers: HeaderTranslation | undefined): string[] {
  if (headers === undefined) return []
  const all = [
    ...headers.rename.map(({ from, to }) => `${from} becomes ${to}`),
    ...headers.set.map(({ name, value }) => `${name} is set to "${value}"`),
    ...headers.replace.map(({ name, value }) => `${name}, if it is there, is set to "${value}"`),
    ...headers.remove.map((name) => `${name} is removed`),
  ]
  return all.length === 0 ? [] : [`${subject}: header ${all.join(', ')}.`]
}

function queryText(query: QueryTranslation | undefined): string[] {
  if (query === undefined) return []
  const all = [
    ...query.rename.map(({ from, to }) => `${from} becomes ${to}`),
    ...query.remove.map((name) => `${name} is removed`),
    ...query.default.map(({ name, value }) => `${name} is "${value}" where it is missing`),
  ]
  return [`The request: query parameter ${all.join(', ')}.`]
}

function bodyText(what: string, rules: readonly BodyRule[]): string[] {
  return rules.length === 0 ? [] : [`In the JSON of ${what}: ${rules.map(ruleText).join(', ')}.`]
}

function ruleText(rule: BodyRule): string {
  switch (rule.type) {
    case 'Rename':
      return `${pointer(rule.path)} is renamed to ${JSON.stringify(rule.to)}`
    case 'Move':
      return `${pointer(rule.from)} moves to ${pointer(rule.to)}`
    case 'Remove':
      return `${pointer(rule.path)} is removed`
    case 'Default':
      return `${pointer(rule.path)} is ${rule.value} where it is missing`
    case 'Set':
      return `${pointer(rule.path)} is set to ${rule.value}`
  }
}

function pointer(path: JsonPath): string {
  return path.map((token) => `/${token?.replaceAll('~', '~0').replaceAll('/', '~1') ?? '*'}`).join('')
}
