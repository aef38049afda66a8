/** The versions of an API that callers may speak, and how the older ones are translated to the newest. */

export interface Versioning {
  /** Never empty. Where a request names several of equal rank the first counts. */
  readonly versions: readonly ApiVersion[]
  /** What a request is taken for that names none; absent: it has no version, and is left alone. */
  readonly default?: string
  /** Of a request that names a version in a header or a parameter which is none of these. */
  readonly unknown: 'Pass' | 'Refuse'
  /** Of one body that is translated, before and after it, bytes. */
  readonly maxBodyBytes: number
}

export interface ApiVersion {
  readonly name: string
  readonly matches: readonly VersionMatch[]
  readonly deprecation?: Deprecation
  /** From this version to the one that the Service speaks. */
  readonly request?: RequestTranslation
  /** Back. */
  readonly response?: ResponseTranslation
}

/** What tells of a version. */
export type VersionMatch =
  | { readonly type: 'PathPrefix'; readonly value: string }
  /** Name in lower case. */
  | { readonly type: 'Header'; readonly name: string; readonly value: string }
  /** In Content-Type, or in Accept. All in lower case; each parameter must be there with this value. */
  | {
      readonly type: 'MediaType'
      readonly mediaType: string
      readonly parameters: readonly { readonly name: string; readonly value: string }[]
    }

/** Values of header fields, ready to be sent. */
export interface Deprecation {
  /** RFC 9745: `@` and seconds. */
  readonly deprecation?: string
  /** RFC 8594: an HTTP date. */
  readonly sunset?: string
  /** RFC 8288. */
  readonly link?: string
}

export interface RequestTranslation {
  /** Longest first. Also undone in Location and Content-Location of the answer. */
  readonly prefixes: readonly { readonly from: string; readonly to: string }[]
  readonly query?: QueryTranslation
  readonly headers?: HeaderTranslation
  readonly body: readonly BodyRule[]
}

export interface ResponseTranslation {
  readonly headers?: HeaderTranslation
  /** Of answers 2xx. */
  readonly body: readonly BodyRule[]
  /** Of answers 4xx and 5xx. */
  readonly errorBody: readonly BodyRule[]
}

/** In this order. */
export interface QueryTranslation {
  readonly rename: readonly { readonly from: string; readonly to: string }[]
  readonly remove: readonly string[]
  /** Where there is no such parameter. */
  readonly default: readonly { readonly name: string; readonly value: string }[]
}

/** In this order. Names that are looked for are in lower case. */
export interface HeaderTranslation {
  readonly rename: readonly { readonly from: string; readonly to: string }[]
  readonly set: readonly { readonly name: string; readonly value: string }[]
  /** Set where there is one. */
  readonly replace: readonly { readonly name: string; readonly value: string }[]
  readonly remove: readonly string[]
}

/** Tokens of a JSON Pointer (RFC 6901), unescaped; null stands for each element of an array. */
export type JsonPath = readonly (string | null)[]

/** `value` is JSON text. */
export type BodyRule =
  | { readonly type: 'Rename'; readonly path: JsonPath; readonly to: string }
  | { readonly type: 'Move'; readonly from: JsonPath; readonly to: JsonPath }
  | { readonly type: 'Remove'; readonly path: JsonPath }
  | { readonly type: 'Default'; readonly path: JsonPath; readonly value: string }
  | { readonly type: 'Set'; readonly path: JsonPath; readonly value: string }

/** Bounds of what is declared and of what is read. */
export const TRANSLATION_BOUNDS = {
  versions: 16,
  matches: 16,
  prefixes: 16,
  /** Of one list of query parameters or headers. */
  names: 32,
  /** Of one list of body rules. */
  rules: 64,
  pathTokens: 16,
  /** Characters of the JSON of one value. */
  valueCharacters: 4096,
  /** Of nested objects and arrays in a body. */
  depth: 64,
  /** Of members, elements and the document itself in a body. */
  values: 250_000,
  maxBodyBytes: 16 * 1024 * 1024,
  maxBodyBytesDefault: 1024 * 1024,
} as const
