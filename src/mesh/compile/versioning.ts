/** `versioning` of a TrafficPolicy → what proxies carry out: names in lower case where they are looked for, dates rendered. */
import type {
  ApiVersion,
  BodyRule,
  Deprecation,
  HeaderTranslation,
  RequestTranslation,
  ResponseTranslation,
  Versioning,
  VersionMatch,
} from '#contract'
import type { VersioningSpec } from '#resources'

type VersionSpec = VersioningSpec['versions'][number]
type RequestSpec = NonNullable<VersionSpec['request']>
type HeadersSpec = NonNullable<RequestSpec['headers']>
type DeprecationSpec = NonNullable<VersionSpec['deprecation']>

export function compileVersioning({ default: named, unknown, maxBodyBytes, versions }: VersioningSpec): Versioning {
  return {
    versions: versions.map(compileVersion),
    ...(named === undefined ? {} : { default: named }),
    unknown,
    maxBodyBytes,
  }
}

function compileVersion({ name, match, deprecation, request, response }: VersionSpec): ApiVersion {
  return {
    name,
    matches: match.map(compileMatch),
    ...(deprecation === undefined ? {} : { deprecation: compileDeprecation(deprecation) }),
    ...(request === undefined ? {} : { request: compileRequest(request) }),
    ...(response === undefined ? {} : { response: compileResponse(response) }),
  }
}

function compileMatch({ pathPrefix, header, mediaType = '' }: VersionSpec['match'][number]): VersionMatch {
  if (pathPrefix !== undefined) return { type: 'PathPrefix', value: pathPrefix }
  if (header !== undefined) return { type: 'Header', name: header.name.toLowerCase(), value: header.value }
  const [type = '', ...rest] = mediaType.toLowerCase().replace(/\s/g, '').split(';')
  const parameters = rest.map((text) => {
    const equals = text.indexOf('=')
    return { name: text.slice(0, equals), value: text.slice(equals + 1) }
  })
  return { type: 'MediaType', mediaType: type, parameters }
}

function compileDeprecation({ since, sunset, link }: DeprecationSpec): Deprecation {
  return {
    ...(since === undefined ? {} : { deprecation: `@${Math.floor(Date.parse(since) / 1000)}` }),
    ...(sunset === undefined ? {} : { sunset: new Date(sunset).toUTCString() }),
    // RFC 9745 section 3; a sunset alone has a relation of its own (RFC 8594 section 6).
    ...(link === undefined ? {} : { link: `<${link}>; rel="${since === undefined ? 'sunset' : 'deprecation'}"` }),
  }
}

function compileRequest({ paths, query, headers, body }: RequestSpec): RequestTranslation {
  return {
    prefixes: paths.map(({ prefix, to }) => ({ from: prefix, to })),
    ...(query === undefined ? {} : { query }),
    ...(headers === undefined ? {} : { headers: compileHeaders(headers) }),
    body: body.map(compileRule),
  }
}

function compileResponse({ headers, body, errorBody }: NonNullable<VersionSpec['response']>): ResponseTranslation {
  return {
    ...(headers === undefined ? {} : { headers: compileHeaders(headers) }),
    body: body.map(compileRule),
    errorBody: errorBody.map(compileRule),
  }
}

function compileHeaders({ rename, set, replace, remove }: HeadersSpec): HeaderTranslation {
  return {
    rename: rename.map(({ from, to }) => ({ from: from.toLowerCase(), to })),
    set,
    replace,
    remove: remove.map((name) => name.toLowerCase()),
  }
}

function compileRule({ rename, move, remove, default: fallback, set }: RequestSpec['body'][number]): BodyRule {
  if (rename !== undefined) return { type: 'Rename', ...rename }
  if (move !== undefined) return { type: 'Move', ...move }
  if (remove !== undefined) return { type: 'Remove', path: remove }
  if (fallback !== undefined) return { type: 'Default', ...fallback }
  // The schema has seen to it that there is one of them.
  return { type: 'Set', path: set?.path ?? [], value: set?.value ?? 'null' }
}
