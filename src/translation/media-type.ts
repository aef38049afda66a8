/** Media types of Content-Type and Accept (RFC 9110 sections 8.3.1 and 12.5.1), in time linear in their length. */

export interface MediaType {
  /** `type/subtype` in lower case. */
  readonly name: string
  /** Names in lower case, values unquoted; of a name that comes twice the first counts. Without `q`. */
  readonly parameters: ReadonlyMap<string, string>
  /** Weight, 0 … 1; 1 when it is not said or cannot be read. */
  readonly q: number
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** Undefined for what is no media type. */
export function parseMediaType(text: string): MediaType | undefined {
  const [first = '', ...rest] = splitOutsideQuotes(text, ';')
  const name = first.trim().toLowerCase()
  const slash = name.indexOf('/')
  if (slash < 1 || !TOKEN.test(name.slice(0, slash)) || !TOKEN.test(name.slice(slash + 1))) return undefined
  const parameters = new Map<string, string>()
  let q = 1
  for (const part of rest) {
    const equals = part.indexOf('=')
    if (equals < 0) continue
    const key = part.slice(0, equals).trim().toLowerCase()
    const value = unquoted(part.slice(equals + 1).trim())
    if (key === 'q') q = weight(value)
    else if (!parameters.has(key)) parameters.set(key, value)
  }
  return { name, parameters, q }
}

/** The ranges of an Accept header; those that cannot be read are left out. */
export function parseAccept(text: string): MediaType[] {
  const found: MediaType[] = []
  for (const part of splitOutsideQuotes(text, ',')) {
    const range = parseMediaType(part)
    if (range !== undefined) found.push(range)
  }
  return found
}

/** RFC 8259 and RFC 6839: `application/json`, or a suffix `+json`. */
export function isJson({ name }: MediaType): boolean {
  return name === 'application/json' || name.endsWith('+json')
}

function weight(text: string): number {
  return /^(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)$/.test(text) ? Number(text) : 1
}

function unquoted(text: string): string {
  if (text.length < 2 || !text.startsWith('"') || !text.endsWith('"')) return text
  return text.slice(1, -1).replace(/\\(.)/g, '$1')
}

function splitOutsideQuotes(text: string, separator: ',' | ';'): string[] {
  if (!text.includes('"')) return text.split(separator)
  const parts: string[] = []
  let start = 0
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (quoted && character === '\\') i++
    else if (character === '"') quoted = !quoted
    else if (character === separator && !quoted) {
      parts.push(text.slice(start, i))
      start = i + 1
    }
  }
  parts.push(text.slice(start))
  return parts
}
